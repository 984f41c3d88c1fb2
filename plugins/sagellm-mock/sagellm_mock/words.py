"""The mock's vocabulary and grammar.

Token ids are positions in these lists, and whoever compares outputs between versions relies on
them: entries are never moved or removed; new ones go to the end of ``PIECES``.
"""

from __future__ import annotations

OPENERS = (
    "The", "A", "Every", "This", "That", "One", "Some", "Another", "Each", "No", "Our", "Their",
    "Her", "His", "My", "Your", "Its", "Any",
)  # fmt: skip

DETERMINERS = (
    "the", "a", "every", "this", "that", "one", "some", "another", "each", "no", "our", "their",
    "her", "his", "my", "your", "its", "any",
)  # fmt: skip

ADJECTIVES = (
    "small", "large", "quiet", "bright", "old", "new", "early", "late", "careful", "simple",
    "clear", "deep", "distant", "plain", "patient", "gentle", "sharp", "warm", "cold", "green",
    "blue", "grey", "heavy", "light", "narrow", "broad", "curious", "honest", "hidden", "open",
    "steady", "sudden", "gradual", "northern", "southern", "wooden", "golden", "silver", "modern",
    "ancient",
)  # fmt: skip

NOUNS = (
    "river", "house", "garden", "engine", "letter", "morning", "evening", "window", "mountain",
    "forest", "library", "teacher", "student", "farmer", "sailor", "doctor", "painter", "city",
    "village", "bridge", "road", "train", "boat", "lamp", "table", "book", "story", "song",
    "question", "answer", "idea", "plan", "model", "token", "number", "pattern", "signal",
    "machine", "clock", "map", "door", "key", "stone", "tree", "bird", "horse", "cat", "dog",
    "child", "friend", "neighbour", "market", "harbour", "island", "valley", "field", "cloud",
    "storm", "winter", "summer", "shadow", "voice", "picture", "mirror",
)  # fmt: skip

VERBS = (
    "follows", "finds", "keeps", "opens", "closes", "carries", "moves", "draws", "reads",
    "writes", "sees", "hears", "holds", "builds", "repairs", "remembers", "forgets", "describes",
    "explains", "measures", "counts", "compares", "changes", "crosses", "reaches", "leaves",
    "visits", "watches", "guards", "paints", "sells", "buys", "borrows", "returns", "answers",
    "asks", "studies", "teaches", "helps", "surprises",
)  # fmt: skip

ADVERBS = (
    "slowly", "quickly", "quietly", "often", "always", "never", "again", "today", "tomorrow",
    "together", "carefully", "gladly", "rarely", "early", "twice", "soon", "there", "here",
    "alone", "well", "easily", "daily", "outside", "upstairs",
)  # fmt: skip

PREPOSITIONS = (
    "near", "under", "behind", "beside", "across", "without", "before", "after", "inside",
    "beyond", "around", "along", "against", "between", "toward", "below", "above", "past",
    "through", "with", "for", "from", "over", "of",
)  # fmt: skip

#: Parts of prompts that the mock reads but does not write.
PIECES = (
    "Hello", "hello", "What", "what", "Who", "Why", "How", "Where", "When", "Write", "Tell",
    "Explain", "List", "Give", "Please", "You", "I", "We", "It", "He", "She", "They", "Is", "Are",
    "Do", "Can",
    " is", " are", " was", " were", " be", " been", " has", " have", " had", " do", " does",
    " did", " can", " could", " will", " would", " should", " may", " not", " and", " or",
    " but", " if", " then", " than", " so", " as", " at", " by", " in", " on", " to", " it",
    " he", " she", " we", " you", " they", " me", " him", " them", " us", " what", " who",
    " how", " why", " when", " where", " which", " there", " about", " into", " out", " up",
    " down", " more", " most", " less", " very", " just", " only", " also", " first", " last",
    " good", " great", " long", " short", " time", " day", " year", " way", " man", " woman",
    " people", " world", " life", " hand", " part", " place", " case", " week", " company",
    " system", " program", " work", " government", " capital", " country", " language",
    " code", " text", " word", " sentence", " poem", " joke", " name", " data", " test",
    " prompt", " tell", " write", " give", " make", " take", " know", " think", " say", " get",
    " use", " find", " want", " need", " like", " please", " short",
    "ing", "tion", "ed", "er", "ly", "es", "en", "al", "re", "st", "nd", "th", "on", "an", "in",
    ", ", ". ", "? ", "! ", ": ", "; ", "...", "  ", "\n\n", "'s", "n't",
)  # fmt: skip
