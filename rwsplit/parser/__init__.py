"""The parser process, which parses texts too expensive for the turn loop, and rwsplit's side of it."""
