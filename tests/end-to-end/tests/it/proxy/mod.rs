//! The example proxy, with its plugins and with one that attacks it.

mod authorized;
mod forwarded;
mod hostile;
mod site;
mod upstream;
