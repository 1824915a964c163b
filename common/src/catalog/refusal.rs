//! What Postgres refuses to store, told by field.

use super::error::WriteError;

/// The constraint of a column in migrations/0002_products.sql, the column, and what it asks for.
const CHECKS: [(&str, &str, &str); 8] = [
    ("products_id_check", "id", "must be a version 7 uuid"),
    ("products_sku_check", "sku", "must have 1 to 64 characters, not only spaces"),
    ("products_name_check", "name", "must have 1 to 200 characters, not only spaces"),
    ("products_description_check", "description", "must have at most 10,000 characters"),
    ("products_category_check", "category", "must have 1 to 64 characters, not only spaces"),
    ("products_price_check", "price", "must be 0 to 9,999,999,999.99"),
    ("products_stock_quantity_check", "stock_quantity", "must not be negative"),
    ("products_attributes_check", "attributes", "must be a JSON object"),
];

/// Refuses the character that Postgres cannot store, naming the field: its own error does not.
pub(super) fn without_nul<'a>(fields: impl IntoIterator<Item = (&'static str, Option<&'a str>)>) -> Result<(), WriteError> {
    let with_nul = |(_, text): &(_, Option<&str>)| text.is_some_and(|text| text.contains('\0'));
    match fields.into_iter().find(with_nul) {
        Some((field, _)) => Err(WriteError::Invalid { field, reason: "must not contain the character U+0000" }),
        None => Ok(()),
    }
}

/// Why a write of a product with this sku failed.
pub(super) fn refused(error: sqlx::Error, sku: Option<&str>) -> WriteError {
    let Some(database) = error.as_database_error() else { return WriteError::Database(error.into()) };
    let invalid = |field, reason| WriteError::Invalid { field, reason };
    match (database.code().as_deref().unwrap_or_default(), database.constraint().unwrap_or_default()) {
        ("23505", "products_sku_unique") => WriteError::SkuTaken { sku: sku.unwrap_or_default().into() },
        ("23514", constraint) => match CHECKS.iter().find(|(name, _, _)| *name == constraint) {
            Some((_, field, reason)) => invalid(field, reason),
            None => WriteError::Database(error.into()),
        },
        // The attributes are the only JSON, and their texts and numbers the only ones that are not looked at before: an escaped U+0000
        // or half a surrogate pair, a number that numeric cannot hold, objects nested too deep to be merged, a text too long.
        ("22P05" | "22P02" | "22021", _) => invalid("attributes", "must not contain U+0000 or half a surrogate pair"),
        ("22003", _) => invalid("attributes", "must not contain a number of more than 131,072 digits"),
        ("54001" | "54000", _) => invalid("attributes", "must not be nested so deep, or so large"),
        _ => WriteError::Database(error.into()),
    }
}
