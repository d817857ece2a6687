"""The reader of `CustomerService`: from free text to acts, by a lexicon, in microseconds.

It reads sentences (ended by `. ! ?` or a line's end) of clauses (parted by `, ; :`). A negation
reaches over its clause. What a reply says twice in two ways (two prices, done and refused), it
does not say at all, so lists of every answer tell nothing.
"""

from __future__ import annotations

import re
from typing import Iterator, Mapping, NamedTuple, Sequence

from chat_envs.envs._customer_service_world import VERBS, Action
from chat_envs.simulators.agenda import Act

__all__ = ["Reader", "Reading"]

_MOST_CHARACTERS = 1000  # of a reply; the rest is not read
_MOST_READINGS = 4096  # kept; agents and customers say the same things again and again
_TOKEN = re.compile(r"[a-z]+(?:['\u2019][a-z]+)?|[0-9]+|[.!?\n,;:$=]")
_STOPS = frozenset(".!?\n")
_PAUSES = frozenset(",;:")
_ENTITY_KINDS = ("name", "item", "street", "problem")
_KEYED_NUMBERS = ("order", "code")
_ORDER_DIGITS = 4

Lexeme = tuple[str, str]  # (kind, detail) of a concept
_EMPTY: Mapping[str, str] = {}


class Reading(NamedTuple):
    """What a text does: acts, and an action if it has an ACTION line."""

    acts: tuple[Act, ...]
    action: Action | None
    has_promise: bool


class _Sentence:
    """What was found in one sentence so far."""

    __slots__ = (
        "has_claim",
        "is_asking",
        "is_question",
        "is_wish",
        "mentions",
        "slots",
        "values",
    )

    def __init__(self, is_question: bool, is_wish: bool) -> None:
        self.is_question = is_question
        self.is_asking = is_question
        self.is_wish = is_wish
        self.has_claim = False
        self.slots: list[str] = []
        self.values: list[Act] = []
        self.mentions: list[Act] = (
            []
        )  # intents that count only if the sentence is about wishes


class _Clause:
    """What was found in one clause."""

    __slots__ = ("found", "intents", "statuses", "values")

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.values: list[tuple[str, str]] = []
        self.intents: list[str] = []
        self.statuses: list[str] = []


class Reader:
    """Reads what a clerk, or a customer, wrote.

    Args:
        lexicon: concept -> the words and phrases that mean it; a concept is `kind` or
            `kind.detail`.
        entities: kind -> names, of which "name", "item", "street" and "problem" are read.

    >>> lexicon = {"slot.name": ["name"], "verb.check": ["check"], "intent.refund": ["refund"]}
    >>> reader = Reader(lexicon, {"name": ["Kim"], "item": ["lamp"]})
    >>> reader.read("May I have your NAME?").acts
    (Act(kind='request', slot='name', value=''),)
    >>> reader.read("ACTION refund item=lamp").action
    Action(verb='refund', arguments={'item': 'lamp'}, error='')
    """

    def __init__(
        self,
        lexicon: Mapping[str, Sequence[str]],
        entities: Mapping[str, Sequence[str]],
    ) -> None:
        self._words: dict[str, Lexeme] = {}
        self._phrases: dict[str, list[tuple[tuple[str, ...], Lexeme]]] = {}
        self._readings: dict[tuple[str, bool], Reading] = {}
        for concept, phrases in lexicon.items():
            kind, _, detail = concept.partition(".")
            for phrase in phrases:
                self._add(phrase, (kind, detail))
        for kind in _ENTITY_KINDS:
            for name in entities.get(kind, ()):
                self._words[name.lower()] = (kind, name)
        for entries in self._phrases.values():
            entries.sort(key=lambda entry: -len(entry[0]))  # the longest phrase wins

    def _add(self, phrase: str, lexeme: Lexeme) -> None:
        first, *rest = phrase.split()
        if rest:
            self._phrases.setdefault(first, []).append((tuple(rest), lexeme))
        else:
            self._words.setdefault(first, lexeme)

    def read(self, text: str, *, is_wish: bool = False) -> Reading:
        """Return what `text` does; text that it cannot read has no acts and no action.

        Args:
            text: any string.
            is_wish: whether an intent that it names is wanted, as in a customer's words; else
                the words must say so ("you want ...", "your ...", a question).
        """
        key = text[:_MOST_CHARACTERS], is_wish
        reading = self._readings.get(key)
        if reading is None:
            if len(self._readings) >= _MOST_READINGS:
                self._readings.clear()
            reading = self._readings[key] = self._read(*key)
        return reading

    def _read(self, text: str, is_wish: bool) -> Reading:
        lowered = text.lower().replace("\u2019", "'")
        tokens = _TOKEN.findall(lowered)
        action = None
        if "action" in lowered:
            action = self._read_action(tokens, "ACTION" in text)
        acts: list[Act] = []
        start = 0
        for end, token in enumerate(tokens):
            if token in _STOPS:
                if end > start:
                    self._read_sentence(tokens[start:end], token == "?", is_wish, acts)
                start = end + 1
        if start < len(tokens):
            self._read_sentence(tokens[start:], False, is_wish, acts)
        has_promise = Act("promise") in acts
        return Reading(_consistent(acts), action, has_promise)

    def _lexemes(self, tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield (concept, detail) for each word, phrase, number and sign that means something."""
        words, phrases = self._words, self._phrases
        position, length = 0, len(tokens)
        while position < length:
            token = tokens[position]
            position += 1
            if token in phrases:
                for rest, lexeme in phrases[token]:
                    if tuple(tokens[position : position + len(rest)]) == rest:
                        position += len(rest)
                        yield lexeme
                        break
                else:
                    if token in words:
                        yield words[token]
            elif token in words:
                yield words[token]
            elif token[0].isdigit():
                yield "number", token
            elif token in _PAUSES or token == "$":
                yield token, ""

    # ACTION lines --------------------------------------------------------------------------

    def _read_action(self, tokens: Sequence[str], is_loud: bool) -> Action | None:
        starts = [
            position + 1
            for position, token in enumerate(tokens)
            if token == "action" and self._verb(tokens[position + 1 :])
        ]
        if not starts:
            is_meant = is_loud and "action" in tokens
            return Action("", _EMPTY, "unknown ACTION") if is_meant else None
        if len(starts) > 1:
            return Action("", _EMPTY, "one ACTION a turn")
        start = starts[0]
        end = start
        while end < len(tokens) and tokens[end] not in _STOPS:
            end += 1
        lexemes = list(self._lexemes(tokens[start:end]))
        return self._arguments(self._verb(tokens[start:]), lexemes)

    def _verb(self, tokens: Sequence[str]) -> str:
        for kind, detail in self._lexemes(tokens[:4]):
            if kind in ("verb", "intent") and detail in VERBS:
                return detail
            if kind == "slot" and detail in VERBS:
                return detail
            if kind != ":":
                return ""
        return ""

    def _arguments(self, verb: str, lexemes: Sequence[Lexeme]) -> Action:
        arguments: dict[str, str] = {}
        key = ""
        is_first = True
        for kind, detail in lexemes:
            if is_first and detail == verb:
                is_first = False
                continue
            slot = ""
            if kind == "slot":
                key = detail
            elif kind == "number":
                by_length = "order" if len(detail) >= _ORDER_DIGITS else "code"
                slot, key = key if key in _KEYED_NUMBERS else by_length, ""
            elif kind in _ENTITY_KINDS:
                slot, key = kind, ""
            elif kind in ("intent", "verb", "did") and detail in VERBS:
                return Action(verb, _EMPTY, "one ACTION a turn")
            if slot and arguments.setdefault(slot, detail) != detail:
                return Action(verb, _EMPTY, f"ACTION names two of {slot}")
        return Action(verb, arguments)

    # Sentences -----------------------------------------------------------------------------

    def _read_sentence(
        self, tokens: Sequence[str], is_question: bool, is_wish: bool, acts: list[Act]
    ) -> None:
        sentence, clause = _Sentence(is_question, is_wish), _Clause()
        key = number = ""
        for kind, detail in self._lexemes(tokens):
            if kind == "number":
                number = detail
                if "$" in clause.found:
                    clause.values.append(("amount", number))
                elif key in _KEYED_NUMBERS or len(number) >= _ORDER_DIGITS:
                    clause.values.append((key or "order", number))
                key = ""
            elif kind in _ENTITY_KINDS:
                clause.values.append((kind, detail))
            elif kind == "slot":
                sentence.slots.append(detail)
                key = detail
            elif kind == "dollars":
                clause.values.append(("amount", number))
            elif kind in _PAUSES:
                _close_clause(clause, sentence, acts)
                clause = _Clause()
            elif kind == "intent":
                clause.intents.append(detail)
            elif kind == "did":
                clause.intents.append(detail)
                clause.found.add("done")
            elif kind == "status":
                clause.statuses.append(detail)
            else:
                clause.found.add(kind)
                if kind == "ask":
                    sentence.is_asking = True
                elif kind == "want":
                    sentence.is_wish = True
        _close_clause(clause, sentence, acts, is_last=True)
        _close_sentence(sentence, acts)


def _close_clause(
    clause: _Clause, sentence: _Sentence, acts: list[Act], is_last: bool = False
) -> None:
    """Append what a clause claims. The last clause of a question claims nothing."""
    is_asked = is_last and sentence.is_question
    kind = "confirm" if is_asked else "inform"
    sentence.values += [Act(kind, slot, value) for slot, value in clause.values]
    mentions = [Act(kind, "intent", intent) for intent in clause.intents]
    if is_asked:
        sentence.mentions += mentions
        return
    num_acts = len(acts)
    _claim(clause, mentions, sentence, acts)
    sentence.has_claim |= len(acts) > num_acts


def _claim(
    clause: _Clause, mentions: list[Act], sentence: _Sentence, acts: list[Act]
) -> None:
    """Append what a clause that asks nothing claims."""
    found = clause.found
    is_negative = "not" in found or "refuse" in found
    if "no_match" in found:
        acts.append(Act("no_match"))
        return
    is_dated = "weekday" in found or ("days" in found and "arrive" in found)
    if is_dated or "promise" in found:
        acts.append(Act("inform", "day", "none") if is_negative else Act("promise"))
        return
    if clause.statuses and not is_negative:
        acts.extend(Act("inform", "status", status) for status in clause.statuses)
    if "next" in found:
        acts.append(Act("next"))
    if found == {"yes"}:
        acts.append(Act("affirm"))
    elif found in ({"not"}, {"not", "yes"}) and not (clause.intents or clause.values):
        acts.append(Act("negate"))
    if "refuse" in found or ("not" in found and clause.intents):
        acts.append(Act("inform", "outcome", "refused"))
    elif "done" in found and not is_negative:
        acts.append(Act("inform", "outcome", "done"))
        acts.extend(mentions)
    else:
        sentence.mentions += mentions


def _close_sentence(sentence: _Sentence, acts: list[Act]) -> None:
    """Append what a sentence asks for and which values it names."""
    named = {act.slot for act in sentence.values}
    if sentence.is_wish or sentence.is_question:
        acts += sentence.mentions
    elif sentence.is_asking:  # "your status is ..." speaks of no wish
        acts += [act for act in sentence.mentions if act.value != "status"]
    acts += sentence.values
    # "Your order is delivered" asks for no order.
    if sentence.is_question or (sentence.is_asking and not sentence.has_claim):
        acts.extend(
            Act("request", slot) for slot in sentence.slots if slot not in named
        )


def _consistent(acts: Sequence[Act]) -> tuple[Act, ...]:
    """Return `acts` without repetitions and without claims that contradict each other."""
    unique = list(dict.fromkeys(acts))
    claims: dict[str, int] = {}
    for act in unique:
        if act.kind == "inform":
            claims[act.slot] = claims.get(act.slot, 0) + 1
    return tuple(
        [act for act in unique if act.kind != "inform" or claims[act.slot] == 1]
    )
