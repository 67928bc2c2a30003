//! JSON logs on stderr. Nothing personal can reach them: people's data cannot be formatted (`schema::personal`), and
//! bodies are never logged.

use tracing_subscriber::EnvFilter;

/// Starts logging for the life of the process. A second call changes nothing.
pub fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(std::io::stderr);
    // Another subscriber (a test's) may be there already; then it is the one that is wanted.
    let _ = subscriber.try_init();
}
