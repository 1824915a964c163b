//! The pages for whoever starts, stops and watches the process: they are of every process, and described here for this one.

use utoipa::{
    IntoParams, IntoResponses,
    openapi::{
        Content, HttpMethod, OpenApi, ResponseBuilder,
        path::{Operation, OperationBuilder},
        schema::{ArrayBuilder, ObjectBuilder, Type},
    },
};

use super::{params::ReadinessParams, problems::OfAsking, schemas::text};

/// Adds them to the document.
pub fn describe(document: &mut OpenApi) {
    for (path, operation) in [("/livez", livez()), ("/readyz", readyz()), ("/metrics", metrics())] {
        document.paths.add_path_operation(path, vec![HttpMethod::Get], operation);
    }
}

fn livez() -> Operation {
    page("livez", "Whether the process lives", "For whoever starts it again where it does not.")
        .response("200", told("It answers."))
        .build()
}

fn readyz() -> Operation {
    let answer = |description| told(description).content("application/json", Content::new(Some(conditions())));
    let operation =
        page("readyz", "Whether the process is ready", "For balancers. It is as long as Redis or Postgres answers, until it ends.");
    let operation = ReadinessParams::into_params(|| None).into_iter().fold(operation, OperationBuilder::parameter);
    let operation = operation.response("200", answer("Requests are answered.")).response("503", answer("Send them elsewhere."));
    OfAsking::responses().into_iter().fold(operation, |operation, (status, refused)| operation.response(status, refused)).build()
}

fn metrics() -> Operation {
    page("metrics", "What the process has done", "For Prometheus, in its text format (0.0.4).")
        .response("200", told("Each metric with its help."))
        .build()
}

fn page(id: &str, summary: &str, description: &str) -> OperationBuilder {
    OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)).description(Some(description)).tag("health")
}

fn told(description: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(description).content("text/plain", Content::new(Some(text())))
}

/// With `verbose`, for who accepts JSON: each condition.
fn conditions() -> ObjectBuilder {
    let of = |kind| ObjectBuilder::new().schema_type(kind);
    let condition = of(Type::Object)
        .property("name", text())
        .property("holds", of(Type::Boolean))
        .property("for_seconds", of(Type::Integer))
        .property("reason", text())
        .property("remedy", text())
        .required("name")
        .required("holds")
        .required("for_seconds");
    of(Type::Object)
        .property("ready", of(Type::Boolean))
        .property("conditions", ArrayBuilder::new().items(condition))
        .required("ready")
        .required("conditions")
}
