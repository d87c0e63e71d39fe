"""The conversations and texts on which the policy is compared with `transformers`."""

GREEDY_TOKENS = 48
CHATS = (
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "user", "content": "Write a Python function that returns the square of a number."}],
    [{"role": "user", "content": "Natalia sold 48 clips in April, then half as many in May. How many?"}],
    [
        {"role": "system", "content": "Answer in one short sentence."},
        {"role": "user", "content": "Why is the sky blue?"},
        {"role": "assistant", "content": "Air scatters blue light most."},
        {"role": "user", "content": "And red at sunset?"},
    ],
    [{"role": "user", "content": "Reply with JSON with the keys \"name\" and \"color\" about a fox, très rusé 🦊."}],
)  # fmt: skip
TEXTS = (
    "The quick brown fox jumps over the lazy dog. 12345 + 678 = ",
    "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return",
)
FIXED_TOKENS = (0, 1, 2, 33, 198, 260, 1000, 5000, 20000, 49151)
