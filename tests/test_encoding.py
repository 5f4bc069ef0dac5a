"""Text as thirty years of programs wrote it is read as it was meant."""

import pytest

from hmm2song.melody.notation.encoding import decode, repaired

TITLES = {
    "좋은 날": ("utf-8", "utf-8-sig", "utf-16", "cp949", "euc-kr"),
    "Für Elise – café": ("utf-8", "cp1252"),
    "L'été à Genève, été créée": ("cp1252", "latin-1"),
    "GRÖSSE ÜBER ALLES, MÜßIG": ("cp1252",),
    "Þú og ég, ríðum": ("cp1252",),
    "Ó Láng a szívemben": ("cp1252",),
    "Słowik": ("cp1250",),
    "Pieśń o ziemi naszej": ("cp1250",),
    "Подмосковные вечера": ("cp1251", "koi8-r"),
    "Катюша (трек 3)": ("cp1251", "koi8-r"),
    "ОЧИ ЧЁРНЫЕ": ("cp1251",),
    "さくらさくら": ("shift_jis", "euc_jp"),
    "千本桜のうた": ("shift_jis", "euc_jp"),
    "音轨1": ("gb2312", "gbk"),
    "月亮代表我的心": ("gb2312", "big5"),
    "望春風 - 主旋律": ("big5",),
    "Zażółć, źle śpiąc": ("cp1250", "iso8859-2"),
    "Měsíčku na nebi hlubokém": ("cp1250",),
    "Szép ősz, hűvös tűz": ("cp1250",),
    "Очи чёрные": ("cp1251", "koi8-r", "cp866"),
    "Μισιρλού": ("cp1253",),
    "Şarkı: Kâtibim": ("cp1254",),
    "荒城の月": ("shift_jis", "euc_jp", "iso2022_jp"),
    "在那遥远的地方": ("gb18030",),
    "¡Ay, L’été!": ("cp1252", "utf-16-le", "utf-16-be"),
}


@pytest.mark.parametrize(("title", "encoding"), [(title, name) for title, names in TITLES.items() for name in names])
def test_titles(title, encoding):
    assert decode(title.encode(encoding)) == title
    if not encoding.startswith(("utf", "latin", "cp1252", "iso2022")):
        assert repaired(title.encode(encoding).decode("latin-1")) == title
    assert repaired(title) == title


def test_text_of_two_encodings():
    assert decode("Été\nФа 아\n".encode() + "crème".encode("cp1252")) == "Été\nФа 아\ncrème"
    assert repaired("Café".encode().decode("latin-1")) == "Café"


@pytest.mark.parametrize("name", ["Piano", "", "Café", "Ÿ", "\x80\x81", "ÄÖÜ", "naïveté"])
def test_western_text_stays(name):
    assert repaired(name) == name


@pytest.mark.parametrize(
    ("content", "declared", "text"),
    [
        ("Słowik".encode("iso8859-2"), "ISO-8859-2", "Słowik"),
        ("Калинка".encode("koi8-r"), "KOI8-R", "Калинка"),
        ("Über".encode("utf-16"), "cp949", "Über"),
        ("Über".encode(), "cp1250", "Über"),
        (b"\xe9", "rot13", "é"),
    ],
)
def test_declared_encodings(content, declared, text):
    assert decode(content, declared) == text
