//! The client against scripted, embedded and HTTP sources.

mod embedded;
mod events;
mod http;
mod inquiries;
mod nodes;
mod support;
