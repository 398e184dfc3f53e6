//! Bodies of requests, and answers of other nodes: JSON as the documents that the calls take.

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Error as _, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::error::Error;

/// A body as the document that the call takes.
pub(super) fn document<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let body = if body.is_empty() { b"null" } else { body };
    parse(body).map_err(|error| Error::bad(format!("the body: {error}")))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    // From the text itself first: it says where a mistake is, and finds a field that is there twice.
    serde_json::from_slice::<T>(body)?;
    T::deserialize(Named(serde_json::from_slice(body)?))
}

/// A value whose objects have their fields by name alone. Else a list of a struct's fields in the order of the code would do as
/// well, and no client may depend on that.
struct Named(Value);

impl<'de> IntoDeserializer<'de, serde_json::Error> for Named {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Named {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => number.deserialize_any(visitor),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(values) => {
                visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(Named)))
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| (name, Named(value)));
                visitor.visit_map(MapDeserializer::new(fields))
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Array(_) => Err(Self::Error::invalid_type(Unexpected::Seq, &visitor)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| (name, Named(value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(fields)))
            }
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)) => other.deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        count: u16,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    enum Kind {
        Plain,
        AtLeast(u16),
    }

    #[test]
    fn objects_have_their_fields_by_name_alone() {
        let parsed = |text: &str| document::<Outer>(text.as_bytes());
        let all = r#"{"inner": {"count": 1}, "list": [{"count": 2}], "kind": {"atLeast": 3}}"#;
        let outer = Outer {
            inner: Some(Inner { count: 1 }),
            list: vec![Inner { count: 2 }],
            kind: Some(Kind::AtLeast(3)),
        };
        assert_eq!(parsed(all), Ok(outer));
        let plain = parsed(r#"{"inner": null, "kind": "plain"}"#).expect("it is right");
        assert_eq!((plain.inner, plain.kind), (None, Some(Kind::Plain)));
        for wrong in [
            "[null, [], null]",
            r#"{"inner": [1]}"#,
            r#"{"list": [[1]]}"#,
            r#"{"inner": {"count": 1, "count": 2}}"#,
            r#"{"inner": null, "inner": null}"#,
            r#"{"kind": {"atLeast": 3, "plain": null}}"#,
            r#"{"kind": "other"}"#,
            r#"{"other": 1}"#,
            "{",
        ] {
            let error = parsed(wrong).expect_err(wrong);
            assert!(error.status == 400 && error.message.starts_with("the body: "), "{wrong}");
        }
    }
}
