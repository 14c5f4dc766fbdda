"""What stands where in a plot."""

from xml.etree import ElementTree


def parts(svg: str, tag: str, class_: str = "") -> list[ElementTree.Element]:
    """Elements with a tag and a class, in the order they are drawn."""
    wanted = set(class_.split())
    return [
        found
        for found in ElementTree.fromstring(svg).iter(tag)
        if wanted <= set(found.attrib.get("class", "").split())
    ]


def texts(svg: str, class_: str = "") -> list[str]:
    """What the lines of text say."""
    return [found.text or "" for found in parts(svg, "text", class_)]


def numbers(element: ElementTree.Element, *names: str) -> tuple[float, ...]:
    """Attributes as numbers."""
    return tuple(float(element.attrib[name]) for name in names)


def centre(element: ElementTree.Element) -> tuple[float, float]:
    """The middle of a marker."""
    if element.tag == "circle":
        return numbers(element, "cx", "cy")[0], numbers(element, "cx", "cy")[1]
    if element.tag == "rect":
        x, y, width, height = numbers(element, "x", "y", "width", "height")
        return x + width / 2, y + height / 2
    points = [tuple(map(float, pair.split(","))) for pair in element.attrib["points"].split()]
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def markers(svg: str) -> list[ElementTree.Element]:
    """All markers, of whatever shape, in the order they are drawn."""
    root = ElementTree.fromstring(svg)
    return [found for found in root.iter() if "marker" in found.attrib.get("class", "").split()]
