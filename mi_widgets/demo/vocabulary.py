"""The words of the demo model's small world, by role, and the one vocabulary they make together.

Pure data: it knows nothing about sentences, tasks, tokenizer libraries or tensors. A token is written as
the model sees it: words and signs carry their leading space (" Mary", " ,"), the two last digits of a
year do not ("32", which follows " 17" in " 1732").
"""

BOS = "<|endoftext|>"  # begins every document; also the end-of-text and the padding token
UNKNOWN = "<|unk|>"
SPECIAL_TOKENS = (BOS, UNKNOWN)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CENTURIES = tuple(str(century) for century in range(11, 19))
TWO_DIGITS = tuple(f"{year:02d}" for year in range(100))

MALE_NAMES = _words("John Tom James Paul Peter Mark Luke Sam Jack Henry Oscar Leo Max Adam Hugo Felix")
FEMALE_NAMES = _words("Mary Anna Alice Emma Sarah Lucy Clara Nora Julia Rose Eva Ida Laura Grace Helen Ruth")
NAMES = MALE_NAMES + FEMALE_NAMES
PLACES = _words("store park school station garden office beach market library museum river bridge")
GIFTS = _words("drink book ball letter gift flower ring basket cake hat lamp map")

BOXES = _words("A B C D")
THINGS = _words("apple coin key book ring ball cup watch stone rope candle letter hat spoon map shell")

# from country to its language, its capital and two other cities
COUNTRIES = {
    "France": ("French", "Paris", "Lyon", "Nice"),
    "Germany": ("German", "Berlin", "Munich", "Hamburg"),
    "Italy": ("Italian", "Rome", "Milan", "Naples"),
    "Spain": ("Spanish", "Madrid", "Seville", "Valencia"),
    "Japan": ("Japanese", "Tokyo", "Osaka", "Kyoto"),
    "China": ("Chinese", "Beijing", "Shanghai", "Wuhan"),
    "Russia": ("Russian", "Moscow", "Kazan", "Omsk"),
    "Greece": ("Greek", "Athens", "Patras", "Corinth"),
    "Poland": ("Polish", "Warsaw", "Krakow", "Gdansk"),
    "Turkey": ("Turkish", "Ankara", "Istanbul", "Izmir"),
    "Norway": ("Norwegian", "Oslo", "Bergen", "Bodo"),
    "Portugal": ("Portuguese", "Lisbon", "Porto", "Braga"),
}

# from singular to plural
NOUNS = {
    "key": "keys", "book": "books", "lamp": "lamps", "chair": "chairs", "door": "doors", "picture": "pictures",
    "tree": "trees", "bottle": "bottles", "window": "windows", "car": "cars", "house": "houses", "boat": "boats",
    "table": "tables", "mirror": "mirrors", "tower": "towers", "clock": "clocks",
}  # fmt: skip
VERBS = {"is": "are", "was": "were", "looks": "look", "seems": "seem", "remains": "remain"}
PREPOSITIONS = _words("near behind beside above under")
QUALITIES = _words("old new broken heavy clean strange famous empty large small")

EVENTS = _words("war siege reign journey trial feud project famine strike plague voyage drought")

COLOURS = _words("red blue green yellow black white orange purple brown pink")
TIMES = _words("morning evening day night week")
# topic: nouns, past-tense verbs, linking verb, good and bad adjectives (lists of one length across topics)
TOPICS = {
    "animals": {
        "nouns": _words("dog cat horse rabbit bird fox wolf sheep duck goat"),
        "verbs": _words("fed followed saw washed"),
        "link": "was",
        "positive": _words("gentle friendly playful clever"),
        "negative": _words("vicious dirty sick noisy"),
    },
    "food": {
        "nouns": _words("soup pie salad sandwich cheese pizza bread stew pancake cookie"),
        "verbs": _words("cooked bought baked ordered"),
        "link": "tasted",
        "positive": _words("delicious fresh sweet tasty"),
        "negative": _words("bitter burnt rotten stale"),
    },
    "weather": {
        "nouns": _words("storm rainbow cloud breeze sunset blizzard shower sunrise wind frost"),
        "verbs": _words("watched noticed described photographed"),
        "link": "seemed",
        "positive": _words("bright mild clear pleasant"),
        "negative": _words("grey harsh freezing dreary"),
    },
    "art": {
        "nouns": _words("painting statue drawing vase mask poster sketch portrait mural carving"),
        "verbs": _words("painted drew made copied"),
        "link": "looked",
        "positive": _words("beautiful elegant vivid lovely"),
        "negative": _words("ugly dull messy faded"),
    },
}
MOODS = {
    "positive": {
        "emotions": _words("happy glad proud calm cheerful grateful hopeful"),
        "reactions": _words("smiled laughed danced sang"),
        "days": _words("wonderful perfect lucky great"),
    },
    "negative": {
        "emotions": _words("sad angry afraid lonely bored jealous worried"),
        "reactions": _words("cried frowned sighed complained"),
        "days": _words("terrible awful horrible miserable"),
    },
}

# from English to French and its gender
ANIMATE = {
    "cat": ("chat", "m"), "dog": ("chien", "m"), "horse": ("cheval", "m"), "fox": ("renard", "m"),
    "wolf": ("loup", "m"), "boy": ("garçon", "m"), "king": ("roi", "m"), "cow": ("vache", "f"),
    "mouse": ("souris", "f"), "hen": ("poule", "f"), "girl": ("fille", "f"), "queen": ("reine", "f"),
}  # fmt: skip
INANIMATE = {
    "bread": ("pain", "m"), "cheese": ("fromage", "m"), "book": ("livre", "m"), "garden": ("jardin", "m"),
    "boat": ("bateau", "m"), "hat": ("chapeau", "m"), "apple": ("pomme", "f"), "soup": ("soupe", "f"),
    "flower": ("fleur", "f"), "house": ("maison", "f"), "door": ("porte", "f"), "key": ("clef", "f"),
}  # fmt: skip
FRENCH_VERBS = {
    "sees": "voit", "takes": "prend", "wants": "veut", "finds": "trouve", "sells": "vend", "buys": "achète",
    "loves": "aime", "draws": "dessine",
}  # fmt: skip
# English: masculine, feminine (in French they follow the noun)
FRENCH_ADJECTIVES = {
    "black": ("noir", "noire"), "white": ("blanc", "blanche"), "green": ("vert", "verte"),
    "red": ("rouge", "rouge"), "heavy": ("lourd", "lourde"), "happy": ("content", "contente"),
}  # fmt: skip
ARTICLES = {"m": "le", "f": "la"}
LANGUAGES = ("English", "French")

CODE_NAMES = _words("x y z n m")
CODE_FUNCTIONS = _words("f g h")
CODE_OPERATORS = _words("+ - *")
CODE_COMPARISONS = _words("< > ==")
CODE_WORDS = _words("def return let if else while print ( ) : ; = ,")

FUNCTION_WORDS = _words(
    """the The a and of to from at in it It He She . , : = When After While Then Yesterday Today friends went
    arrived were met walked found gave handed offered showed sent Box has contains nothing is empty Put Move
    Remove into Fact language Claim Verdict true false lies city capital belongs person people speak speaks
    spoken lasted began ended continued until Topic Mood again felt because Everyone talked about for"""
)


def _vocabulary() -> tuple[str, ...]:
    words = [*FUNCTION_WORDS, *NAMES, *PLACES, *GIFTS, *BOXES, *THINGS]
    for country, (language, *cities) in COUNTRIES.items():
        words += [country, language, *cities]
    for pairs in (NOUNS, VERBS):
        words += [form for pair in pairs.items() for form in pair]
    words += [*PREPOSITIONS, *QUALITIES, *EVENTS, *COLOURS, *TIMES]
    for topic, roles in TOPICS.items():
        words += [topic, roles["link"], *roles["nouns"], *roles["verbs"], *roles["positive"], *roles["negative"]]
    for mood, roles in MOODS.items():
        words += [mood, *roles["emotions"], *roles["reactions"], *roles["days"]]
    for nouns in (ANIMATE, INANIMATE):
        words += [form for english, (french, _) in nouns.items() for form in (english, french)]
    words += [form for pair in FRENCH_VERBS.items() for form in pair]
    words += [form for english, french in FRENCH_ADJECTIVES.items() for form in (english, *french)]
    words += [*ARTICLES.values(), *LANGUAGES]
    words += [*CODE_NAMES, *CODE_FUNCTIONS, *CODE_OPERATORS, *CODE_COMPARISONS, *CODE_WORDS]
    spaced = [" " + word for word in (*CENTURIES, *words)]
    return (*SPECIAL_TOKENS, *TWO_DIGITS, *dict.fromkeys(spaced))


VOCABULARY: tuple[str, ...] = _vocabulary()  # a token's id is its index; special tokens hold the lowest ids
TOKEN_IDS: dict[str, int] = {token: index for index, token in enumerate(VOCABULARY)}
ORDINARY_TOKENS: tuple[str, ...] = VOCABULARY[len(SPECIAL_TOKENS) :]
