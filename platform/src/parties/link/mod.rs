//! The adapter link as a party (the socket is http's).
