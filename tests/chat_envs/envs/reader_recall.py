"""How readers do on words that they were not written for: the lists, and what of them is read.

The tests require a recall of each reader, and the page of its environment reports it. No text is
a phrase that a reader looks up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from chat_envs.envs._tutoring_reader import NO_SKILL, TutorAct
from chat_envs.envs._tutoring_tier import TIERS, data
from chat_envs.envs.mastermind import read_code
from chat_envs.envs.tutoring import _reader
from chat_envs.envs.wordle import read_word
from chat_envs.simulators.student import KNOWN
from tests.chat_envs.envs.chatter import expecting, hear
from tests.chat_envs.envs.places import oracle

__all__ = ["Recall", "reader_recalls"]


@dataclass(frozen=True)
class Recall:
    """What a reader understood of a list of texts.

    Attributes:
        what: what the texts are, in the plural.
        num_asked: how many there are.
        missed: those that it did not understand, or took for something else.
    """

    what: str
    num_asked: int
    missed: tuple[str, ...]

    @property
    def num_read(self) -> int:
        """How many it understood."""
        return self.num_asked - len(self.missed)

    @property
    def share(self) -> float:
        """The share that it understood."""
        return self.num_read / self.num_asked


WORDLE = """
My guess: HOUSE | Ok, let me try house. | Hmm... house? | Is your word house? | I think it's house!
Let's go with h-o-u-s-e. | How about: house? | Could it be 'house'? | Perhaps the word is house.
I would like to try house, please. | So my next guess is H, O, U, S, E. | Then I'd say house
Now: house | It must be HOUSE!!! | Well, what about house then? | I will go with house
Thanks. House? | Maybe _house_ | house, perhaps? | Alright, final answer: house.
"""
MASTERMIND = """
My guess: red, blue, green | Ok, let me try red blue green. | Hmm... red, blue and green?
Is your code red blue green? | I think it's red, blue, green! | Let's go with red - blue - green.
How about: RED BLUE GREEN? | Could it be red, then blue, then green?
Perhaps the code is red blue green. | I would like to try red blue green, please.
So my next guess is Red, Blue, Green. | Now: red; blue; green | They are red, blue and green.
Well, what about red, blue, green then? | I will go with *red* *blue* *green*
Alright, final answer: red blue green.
"""
# What people ask in this game.
PLACES = """
Is this country in Africa? | Is the country located in Europe? | It's in Asia?
Is it a South American country? | Is it an Asian nation? | Hmm, is it in the Caribbean?
Okay. Is it in Western Europe? | Great! Is it in southern Africa? | Is that place in Oceania?
Is it situated in the Americas? | Could it be in South East Asia? | Is it found in East Africa?
Does your country border Germany? | Does this nation share a border with China?
Is the country next to Brazil? | Is it a neighbor of India? | Is it neighboring Russia?
Does the country touch Iran? | Is South Africa its neighbor? | Is it bordered by the USA?
Do the people there speak French? | Is Spanish the official language?
Do its inhabitants speak Arabic?
Is English spoken there? | Is Portuguese spoken in this country?
Is it an English-speaking country?
Is it a Spanish speaking nation? | Is the official language Dutch? | Do they mainly speak Russian?
Is Swahili an official language there? | Do the locals speak Malay? | Is German their language?
Do they use the euro? | Is the currency the dollar? | Is its currency called the peso?
Do they pay with pounds there? | Is the euro the currency of the country?
Do people use francs there?
Is the money called yen? | Can you pay in dollars there? | Do they use rupees?
Is the capital Nairobi? | Is Lima the capital? | Is its capital city called Rome?
Is Paris the capital city? | Does the capital start with the letter B?
Does its capital begin with M?
Does the name begin with S? | Does the country's name start with A? | Does the country start with C?
Is the capital's first letter T? | Is it landlocked? please | Is the country an island?
Is it an island nation? | Is it an archipelago? | Does the country have a coastline?
Does it have access to the sea? | Is it a coastal nation? | Is it actually an island?
Does it have more than ten million people? | Do more than 50 million people live there?
Is its population over 100 million? | Is the population less than 5 million?
Has the country more than one million inhabitants? | Is its population above 20 million?
Does it have a population of over 10 million? | Are there more than 50 million people there?
Does it have more inhabitants than France? | Is its population larger than that of Spain?
Does it have fewer people than Norway? | Is it more populous than Japan?
Does the country have a bigger population than Egypt? | Do fewer people live there than in Peru?
Does it have more than three neighbors? | Does it border more than 5 other countries?
Does the country have any neighbors? | Does it have land borders? | Is it a populous nation?
Is it Kenya? | I think it is Peru. | My guess is Japan! | Is it the Netherlands? | Could it be Chad?
Is the answer the UK? | Is it Bosnia and Herzegovina? | Are you thinking of Cuba? | Italy
Is it the United States of America? | Is it Côte d'Ivoire? | Must be Nepal.
"""
BEYOND_PLACES = """
Is it in the EU? | Is it a monarchy? | Is it hot there? | Is it a rich country?
Is it bigger than France? | Is it in the northern hemisphere? | Was it a British colony?
Is it a member of NATO? | Is it mountainous? | Does it have a king?
"""
FEELINGS = {
    "sad": """
    You sound sad. | It seems that you feel unhappy about it | That must be a sorrow
    What is it that makes you so SAD?""",
    "angry": "I can tell that you are furious! | No wonder you are mad.",
    "scared": """
    so you're worried | Anyone would be afraid of that. | That sounds terrified, poor you.""",
    "lonely": "You must feel very alone. | It sounds like you are lonely, I am here.",
    "tired": "you seem exhausted | Sounds like you are sleepy",
    "bored": "You are bored, right? | I see, your days are dull",
    "proud": "You can be proud of that. Great! | wow, you should be proud",
    "happy": "I am glad you are so happy | You look cheerful | That is a joy, how nice!",
}
DOG = """
Where is your dog? | Your dog? | your DOG ? | Tell me about your dog.
Tell me more about the puppy! | I see. What is your dog like? | Can you say more about your dog
How are the dogs doing? | How is the dog | What happened? Is it about your dog?
I wonder how your dog is. | Oh no, is your dog ill?
"""


def texts(listed: str) -> list[str]:
    """Return the texts of a list."""
    split = [text.strip() for text in listed.replace("\n", "|").split("|")]
    return [text for text in split if text]


def _recall(what: str, listed: str, is_read: Callable[[str], bool]) -> Recall:
    asked = texts(listed)
    return Recall(what, len(asked), tuple(t for t in asked if not is_read(t)))


def _wordle() -> list[Recall]:
    return [_recall("ways to say a guess", WORDLE, lambda t: read_word(t) == "house")]


def _mastermind() -> list[Recall]:
    what = "ways to say a guess"
    return [_recall(what, MASTERMIND, lambda t: read_code(t) == (0, 1, 2))]


def _guess_place() -> list[Recall]:
    def is_read(text: str) -> bool:
        return oracle().read(text) is not None

    return [
        _recall("questions about what its table knows", PLACES, is_read),
        _recall("questions beyond its table", BEYOND_PLACES, is_read),
    ]


def _social_chat() -> list[Recall]:
    missed: list[str] = []
    num_asked = 0
    for emotion, listed in FEELINGS.items():
        for text in texts(listed):
            partner = expecting(emotion)
            hear(partner, text)
            num_asked += 1
            missed += [] if partner.features.validation == 1.0 else [text]

    def is_question(text: str) -> bool:
        partner = expecting("sad")
        interest = partner.current.interest
        hear(partner, text)
        return partner.features.question == interest > 0.0

    return [
        Recall("ways to name a feeling", num_asked, tuple(missed)),
        _recall("ways to ask about the user's thing", DOG, is_question),
    ]


def _tutoring() -> list[Recall]:
    known, reader = data(), _reader(TIERS["hard"].skills)
    missed: list[str] = []
    num_asked = 0
    for kind, templates in known["held_out"].items():
        skills = range(6) if kind != "end" else [NO_SKILL]
        bugs = range(1, 7) if kind == "remediate" else [KNOWN]
        for template, skill, bug in itertools.product(templates, skills, bugs):
            name = known["names"]["default"][TIERS["hard"].skills[skill]]
            text = template.format(skill=name, bug=known["misconceptions"][bug - 1])
            is_read = reader.read_tutor(text) == TutorAct(kind, skill, bug)
            num_asked += 1
            missed += [] if is_read else [text]
    return [Recall("ways to say what a tutor does", num_asked, tuple(missed))]


_RECALLS: dict[str, Callable[[], list[Recall]]] = {
    "GuessPlace": _guess_place,
    "Mastermind": _mastermind,
    "SocialChat": _social_chat,
    "Tutoring": _tutoring,
    "Wordle": _wordle,
}


def reader_recalls(family: str) -> list[Recall]:
    """Return the recalls of a family's reader; none where no list measures it."""
    return _RECALLS[family]() if family in _RECALLS else []
