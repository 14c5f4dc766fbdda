"""Shop orders as nested JSON: the only annotated lists of things, so they are put together from parts."""

import json
import random
from collections.abc import Sequence

from tools.pretrain.mixture.conversation import Conversation, Turn, assistant, system, user
from tools.pretrain.mixture.episodes import CHARACTERS_A_TOKEN
from tools.pretrain.mixture.material import Material

_GOODS: dict[str, tuple[tuple[str, str], ...]] = {
    "hardware": (
        ("hammer", "hammers"), ("paint brush", "paint brushes"), ("tape measure", "tape measures"),
        ("light bulb", "light bulbs"), ("ladder", "ladders"), ("door handle", "door handles"), ("torch",
        "torches"),
    ),
    "stationery": (
        ("notebook", "notebooks"), ("fountain pen", "fountain pens"), ("envelope", "envelopes"),
        ("folder", "folders"), ("stapler", "staplers"), ("wall calendar", "wall calendars"),
    ),
    "clothes": (
        ("t-shirt", "t-shirts"), ("scarf", "scarves"), ("raincoat", "raincoats"), ("jumper", "jumpers"),
        ("hat", "hats"), ("dress", "dresses"),
    ),
    "food": (
        ("margherita pizza", "margherita pizzas"), ("burrito", "burritos"), ("bowl of ramen",
        "bowls of ramen"),
        ("cheeseburger", "cheeseburgers"), ("spring roll", "spring rolls"), ("lemonade", "lemonades"),
        ("falafel wrap", "falafel wraps"),
    ),
    "flowers": (
        ("rose", "roses"), ("tulip bunch", "tulip bunches"), ("sunflower", "sunflowers"), ("fern", "ferns"),
        ("orchid", "orchids"),
    ),
}  # fmt: skip
_REMARKS: dict[str, tuple[str, ...]] = {
    "hardware": ("heavy duty", "with batteries", "the cheap kind", "in steel"),
    "stationery": ("lined", "in blue", "extra large", "recycled paper"),
    "clothes": ("size M", "size small", "in green", "with long sleeves", "in wool"),
    "food": ("no onions", "extra cheese", "gluten free", "large", "without ice", "very spicy"),
    "flowers": ("in white", "gift wrapped", "in a pot", "with a card"),
}
_COUNTS = ("a", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NAMES = (
    "Anna", "Ben", "Carla", "Deepak", "Elif", "Frank", "Grace", "Hiro", "Ines", "Jamal", "Kate", "Leo",
    "Mina",
    "Noah", "Olga", "Paulo", "Rosa", "Sam", "Tara", "Umar", "Vera", "Will", "Yuki", "Zoe",
)  # fmt: skip
_OPENINGS = ("", "I'd like ", "Can I get ", "Please send me ", "We need ", "hi, ",
"Hello! Could you put aside ",
             "My order: ", "order for ")  # fmt: skip
_ITEM_KEYS = (("name", "quantity", "notes"), ("item", "count", "remark"), ("product", "qty", "details"),
              ("article", "number", "extra"), ("what", "how_many", "wish"))  # fmt: skip
_LIST_KEYS = ("items", "order", "products", "lines", "things")
_NAME_KEYS = ("name_of_customer", "client", "buyer", "for", "person")
_TIME_KEYS = ("time", "when", "ready_at", "collect_at", "due")
_ASK = (
    "Write the order as JSON with {keys}. Each of {list_key} has {item_keys}. Use null for what is missing.",
    "Turn the order into JSON. Keys: {keys}; every entry of {list_key}: {item_keys}. Unknown is null.",
    "Read the order. Return JSON ({keys}); in {list_key} give {item_keys}. null if not said.",
)


class _Form:
    """How orders of one conversation are written down."""

    def __init__(self, random_: random.Random) -> None:
        self.list_key = random_.choice(_LIST_KEYS)
        self.item_keys = random_.choice(_ITEM_KEYS)[: random_.choice((2, 3, 3))]
        self.name_key = random_.choice(_NAME_KEYS) if random_.random() < 0.6 else None
        self.time_key = random_.choice(_TIME_KEYS) if random_.random() < 0.6 else None
        keys = [self.list_key, *(key for key in (self.time_key, self.name_key) if key)]
        self.instruction = random_.choice(_ASK).format(
            keys=_quoted(keys), list_key=f'"{self.list_key}"', item_keys=_quoted(self.item_keys)
        )

    def answer(self, items: Sequence[tuple[str, int, str | None]], time: str | None, name: str | None) -> str:
        """Return the JSON of one order."""
        order: dict[str, object] = {
            self.list_key: [dict(zip(self.item_keys, item, strict=False)) for item in items]
        }
        if self.time_key:
            order[self.time_key] = time
        if self.name_key:
            order[self.name_key] = name
        return json.dumps(order)


def orders(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """One form, then one to six orders."""
    form = _Form(random_)
    shop = random_.choice(sorted(_GOODS))
    turns: list[Turn] = [system(form.instruction)] if random_.random() < 0.4 else []
    has_system = bool(turns)
    left = budget * CHARACTERS_A_TOKEN - len(form.instruction)
    for index in range(random_.choice((1, 2, 3, 4, 6))):
        message, items, time, name = _order(random_, shop)
        answer = form.answer(items, time, name)
        row = message if has_system or index else f"{form.instruction}\n\nOrder: {message}"
        left -= len(row) + len(answer) + 26
        if left < 0:
            break
        turns += [user(row), assistant(answer)]
    return tuple(turns) if len(turns) > 1 else None


def _order(
    random_: random.Random, shop: str
) -> tuple[str, list[tuple[str, int, str | None]], str | None, str | None]:
    said, items = [], []
    for singular, plural in random_.sample(_GOODS[shop], random_.choice((1, 1, 2, 2, 3))):
        count = random_.choice((1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10))
        word = (
            str(count)
            if random_.random() < 0.4
            else _COUNTS[count]
            if count > 1
            else random_.choice(("a", "one"))
        )
        remark = random_.choice(_REMARKS[shop]) if random_.random() < 0.4 else None
        thing = singular if count == 1 else plural
        said.append(
            f"{word} {thing}" + (random_.choice((" ({})", ", {},", " {}")).format(remark) if remark else "")
        )
        items.append((singular, count, remark))
    message = (
        random_.choice(_OPENINGS)
        + (", ".join(said[:-1]) + " and " if said[1:] else "")
        + said[-1].rstrip(",")
    )
    time = name = None
    if random_.random() < 0.5:
        hour, minute = random_.randint(7, 20), random_.choice((0, 15, 30, 45))
        time = f"{hour:02d}:{minute:02d}"
        message += random_.choice((" at {}", " for {}", ", ready by {}", " around {}")).format(
            _spoken_time(random_, hour, minute)
        )
    if random_.random() < 0.5:
        name = random_.choice(_NAMES)
        message += random_.choice((". {}", ", thanks, {}", ". My name is {}.", " - {}", ", for {}")).format(
            name
        )
    return message, items, time, name


def _spoken_time(random_: random.Random, hour: int, minute: int) -> str:
    forms = [f"{hour}:{minute:02d}", f"{hour:02d}:{minute:02d}"]
    half = "am" if hour < 12 else "pm"
    short = (hour - 1) % 12 + 1
    forms.append(f"{short}:{minute:02d} {half}" if minute else f"{short}{half}")
    return random_.choice(forms)


def _quoted(keys: Sequence[str]) -> str:
    quoted = [f'"{key}"' for key in keys]
    return ", ".join(quoted[:-1]) + " and " + quoted[-1] if quoted[1:] else quoted[0]
