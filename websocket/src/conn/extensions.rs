//! An application's values for one connection, found by their type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::sync::lock;

type Values = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// An application's values for one connection, at most one of each type. A clone is another handle to the same values.
/// They can be used from any thread, even after the connection has ended.
///
/// ```
/// use tidegate_websocket::{self as websocket, WebSocket};
///
/// struct Name(String);
///
/// async fn handler(mut ws: WebSocket) -> websocket::Result {
///     let extensions = ws.extensions();
///     extensions.insert(Name("anonymous".to_owned()));
///     while let Some(message) = ws.recv().await? {
///         if let Some(text) = message.as_text() {
///             extensions.insert(Name(text.to_owned()));
///         }
///     }
///     println!("{} has left", extensions.get::<Name>().map_or_else(String::new, |name| name.0.clone()));
///     Ok(())
/// }
/// ```
#[derive(Clone, Default)]
pub struct Extensions {
    values: Arc<Mutex<Values>>,
}

impl Extensions {
    /// Inserts a value and returns the former value of its type, if any.
    pub fn insert<T: Any + Send + Sync>(&self, value: T) -> Option<Arc<T>> {
        self.insert_shared(Arc::new(value))
    }

    /// Inserts a value that is already shared, and returns the former value of its type, if any.
    pub fn insert_shared<T: Any + Send + Sync>(&self, value: Arc<T>) -> Option<Arc<T>> {
        lock(&self.values).insert(TypeId::of::<T>(), value).and_then(|before| before.downcast().ok())
    }

    /// Returns the value of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = lock(&self.values).get(&TypeId::of::<T>()).map(Arc::clone);
        value.and_then(|value| value.downcast().ok())
    }

    /// Removes the value of this type and returns it.
    pub fn remove<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        lock(&self.values).remove(&TypeId::of::<T>()).and_then(|value| value.downcast().ok())
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions").field("values", &lock(&self.values).len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_value_of_each_type() {
        let extensions = Extensions::default();
        assert_eq!(extensions.insert(1_u8), None);
        assert_eq!(extensions.clone().insert(2_u8), Some(Arc::new(1)));
        extensions.insert("text");
        assert_eq!(extensions.get::<u8>(), Some(Arc::new(2)));
        assert_eq!(extensions.get::<&str>(), Some(Arc::new("text")));
        assert_eq!(extensions.get::<u16>(), None);
        assert_eq!(extensions.remove::<u8>(), Some(Arc::new(2)));
        assert_eq!(extensions.get::<u8>(), None);
    }
}
