import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.assertions.checking import outcome
from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.languages import LANGUAGES, detect_language

# ruff: noqa: RUF001
SENTENCES = {
    "en": ["Your order will arrive on Tuesday.", "Yes, we are open until 4 on Sundays."],
    "de": ["Ihre Bestellung kommt am Dienstag an.", "Bitte setzen Sie Ihr Passwort zurück."],
    "fr": ["Oui, nous sommes ouverts le dimanche jusqu'à 16 heures.", "C’est l’heure d’y aller, non ?"],
    "es": ["Sí, abrimos los domingos hasta las cuatro.", "¿Cómo puedo ayudarle con su cuenta?"],
    "it": ["Il suo ordine è qui.", "Sì, siamo aperti la domenica fino alle 16."],
    "pt": ["Sim, estamos abertos aos domingos até às 16 horas.", "Como posso ajudar com a sua conta?"],
    "nl": ["Ja, we zijn op zondag open tot vier uur.", "Het spijt ons dat de pot kapot is."],
    "sv": ["Ja, vi har öppet på söndagar till klockan fyra.", "Hur kan jag hjälpa dig med ditt konto?"],
    "da": ["Ja, vi har åbent om søndagen til klokken fire.", "Hvordan kan jeg hjælpe dig med din konto?"],
    "fi": ["Olemme pahoillamme, että ruukku oli rikki.", "Miten voin auttaa sinua tilin kanssa?"],
    "pl": ["Przykro nam, że doniczka jest uszkodzona.", "Tak, jesteśmy otwarci w niedziele do czwartej."],
    "tr": ["Saksı kırık olduğu için çok üzgünüz.", "Size hesabınız için nasıl yardımcı olabilirim?"],
    "ru": ["Ваш заказ прибудет во вторник.", "Нам очень жаль, что горшок был разбит."],
    "uk": ["Нам дуже шкода, що горщик був розбитий."],
    "el": ["Η παραγγελία σας θα φτάσει την Τρίτη."],
    "ja": ["ご注文は火曜日に届きます。", "東京駅前店にて営業中です"],
    "zh": ["您的订单将于星期二到达。"],
    "ko": ["주문하신 상품은 화요일에 도착합니다."],
    "ar": ["سيصل طلبك يوم الثلاثاء."],
    "he": ["ההזמנה שלך תגיע ביום שלישי."],
    "hi": ["आपका ऑर्डर मंगलवार को पहुँचेगा।"],
    "th": ["คำสั่งซื้อของคุณจะมาถึงในวันอังคาร"],
}


@pytest.mark.parametrize(
    ("language", "text"), [(key, text) for key, texts in SENTENCES.items() for text in texts]
)
def test_languages_are_told_apart(language: str, text: str) -> None:
    assert detect_language(text) == language


def test_every_language_that_is_offered_has_a_sentence_here() -> None:
    assert sorted(SENTENCES) == sorted(LANGUAGES)


@pytest.mark.parametrize("text", ["", "OK", "42", "billing", "Latte 7:30", "Tansy Row", "چگونه می‌رسد"])
def test_too_little_has_no_language(text: str) -> None:
    assert detect_language(text) is None


def test_the_script_of_most_letters_decides() -> None:
    assert detect_language("Вам нужно нажать на кнопку Reset, и это всё.") == "ru"
    assert detect_language("The word вторник means Tuesday, as you can see in the list.") == "en"


def test_the_assertion() -> None:
    german, english = SENTENCES["de"][0], SENTENCES["en"][0]
    assert outcome({"language": "de"}, german).status == "passed"
    assert outcome({"language": ["en", "de"]}, german).status == "passed"
    assert outcome({"language": "de"}, english).reason == "is in en, expected de"
    assert outcome({"not_language": "de"}, english).status == "passed"
    assert outcome({"language": "de"}, "OK").status == "skipped"
    unknown = (
        "Rendelését kedden kapja meg, és sajnáljuk hogy eltört az edény, köszönjük türelmét nagyon szépen"
    )
    assert outcome({"language": "de"}, unknown).reason.startswith("does not read as de: 'Rendelését")
    with pytest.raises(
        TaskError, match=r"language: 'english' is not among those told apart: .*; all: ar, da"
    ):
        outcome({"language": "english"}, "")


@given(st.text())
def test_any_text_has_a_known_language_or_none(text: str) -> None:
    assert detect_language(text) in (*LANGUAGES, None)
