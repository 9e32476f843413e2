"""Load with clocks: many calls against any ConversationRelay server, and figures of what it made of them."""
