"""How Schemathesis makes a Freshline-Token: of itself it sends headers of letters and digits alone, of which none is one."""

import schemathesis
from hypothesis import strategies

NUMBER = "([1-9][0-9]{0,6})?[0-9]"
HEXADECIMAL = "([1-9A-F][0-9A-F]{0,2})?[0-9A-F]"
TOKEN = f"{NUMBER}/{NUMBER}/{NUMBER}:[1-9][0-9]{{0,6}}:{HEXADECIMAL}/{HEXADECIMAL}"

schemathesis.openapi.format("freshline-token", strategies.from_regex(TOKEN, fullmatch=True, alphabet=strategies.characters(max_codepoint=127)))
