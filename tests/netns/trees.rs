//! Whole trees through the whole pipeline.
