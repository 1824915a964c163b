//! Freshline.
