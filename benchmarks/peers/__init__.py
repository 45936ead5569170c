"""The same flows, written as the users of other libraries would write them."""
