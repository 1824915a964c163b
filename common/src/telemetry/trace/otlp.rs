//! Spans as OTLP writes them in JSON (OTLP 1.x, "JSON Protobuf Encoding"): ids in hexadecimal, 64-bit numbers as strings, kinds as
//! numbers.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::{
    SpanContext,
    span::{Ended, Value},
};

/// `STATUS_CODE_ERROR`.
const FAILED: u8 = 2;

/// The request that brings these spans of one process, which calls itself `service`.
pub(super) fn request(service: &str, instance: &str, spans: &[Ended]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [("service.name", service), ("service.version", version), ("service.instance.id", instance)];
    let resource: Vec<Json> = resource.map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).into();
    let scope = json!({"name": "freshline", "version": version});
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": scope, "spans": spans}],
    }]});
    request.to_string().into_bytes()
}

fn span(span: &Ended) -> Json {
    let mut json = named(span.context);
    json["name"] = json!(span.name);
    json["kind"] = json!(span.kind as u8);
    json["startTimeUnixNano"] = json!(nanos(span.begun));
    json["endTimeUnixNano"] = json!(nanos(span.ended));
    json["attributes"] = span.told.iter().map(|(key, value)| json!({"key": key, "value": attribute(value)})).collect();
    if let Some(parent) = span.parent {
        json["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    if let Some(link) = span.link {
        json["links"] = json!([named(link)]);
    }
    if span.has_failed {
        json["status"] = json!({"code": FAILED});
    }
    json
}

fn named(context: SpanContext) -> Json {
    json!({"traceId": format!("{:032x}", context.trace), "spanId": format!("{:016x}", context.span)})
}

fn attribute(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
    }
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::trace::SpanKind;

    #[test]
    fn a_span_is_written_as_otlp_asks_for() {
        let begun = UNIX_EPOCH + Duration::from_nanos(1_763_719_200_000_000_001);
        let ended = Ended {
            context: SpanContext { trace: 1, span: 2 },
            parent: Some(3),
            link: Some(SpanContext { trace: 4, span: 5 }),
            name: "transaction.apply".into(),
            kind: SpanKind::Consumer,
            begun,
            ended: begun + Duration::from_millis(1),
            told: vec![("freshline.xid", Value::from(761)), ("freshline.source", "postgres".into())],
            has_failed: true,
        };
        let request: Json = serde_json::from_slice(&request("freshline-invalidator", "host:7", &[ended])).expect("JSON");
        let one = &request["resourceSpans"][0];
        assert_eq!(
            one["resource"]["attributes"][0],
            json!({"key": "service.name", "value": {"stringValue": "freshline-invalidator"}})
        );
        assert_eq!(
            one["scopeSpans"][0]["spans"],
            json!([{
                "traceId": "00000000000000000000000000000001",
                "spanId": "0000000000000002",
                "parentSpanId": "0000000000000003",
                "name": "transaction.apply",
                "kind": 5,
                "startTimeUnixNano": "1763719200000000001",
                "endTimeUnixNano": "1763719200001000001",
                "attributes": [
                    {"key": "freshline.xid", "value": {"intValue": "761"}},
                    {"key": "freshline.source", "value": {"stringValue": "postgres"}},
                ],
                "links": [{"traceId": "00000000000000000000000000000004", "spanId": "0000000000000005"}],
                "status": {"code": 2},
            }])
        );
    }
}
