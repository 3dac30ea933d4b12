//! What this library does, what it does not, and why. Text only.
