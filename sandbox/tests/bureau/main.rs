//! The bureau from outside: whole sequences on the core, and the same over a real socket.

mod http;
mod outpatient;
mod people;
mod process;
mod world;
