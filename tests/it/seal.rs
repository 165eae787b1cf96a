//! The sealed stream against age, and against hostile input.
