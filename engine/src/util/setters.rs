//! Structs of settings with a setter for each field.
//!
//! Owns the one idiom of settings in the three crates: public fields that are read everywhere, and setters by value
//! that have the fields' names. A struct literal is not possible outside its crate, so a new setting breaks no caller.

/// Declares a struct of settings: `#[non_exhaustive]`, `#[must_use]`, and a setter by value for each public field, with
/// the field's name and documentation. A field `Option<T>` is set from a `T` or `None`. A private field has no setter.
///
/// The struct implements `Default` itself. Each field ends with a comma.
#[doc(hidden)]
#[macro_export]
macro_rules! __settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($fields:tt)* }) => {
        $(#[$meta])*
        #[non_exhaustive]
        #[must_use = "settings have no effect until they are passed on"]
        pub struct $name { $($fields)* }

        impl $name {
            $crate::__settings! { @setters $($fields)* }
        }
    };
    (@setters) => {};
    (@setters $(#[$meta:meta])* pub $field:ident: Option<$type:ty>, $($rest:tt)*) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), "), or clears it with `None`.")]
        ///
        $(#[$meta])*
        pub fn $field(mut self, $field: impl Into<Option<$type>>) -> Self {
            self.$field = $field.into();
            self
        }
        $crate::__settings! { @setters $($rest)* }
    };
    (@setters $(#[$meta:meta])* pub $field:ident: $type:ty, $($rest:tt)*) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
        ///
        $(#[$meta])*
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
        $crate::__settings! { @setters $($rest)* }
    };
    (@setters $(#[$meta:meta])* $field:ident: $type:ty, $($rest:tt)*) => {
        $crate::__settings! { @setters $($rest)* }
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    crate::__settings! {
        /// Settings of a test.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Settings {
            /// A number.
            pub workers: usize,
            /// A timeout.
            pub idle_timeout: Option<Duration>,
            /// A vector, with a generic type that ends in two brackets.
            pub names: Option<Vec<Box<str>>>,
            hidden: u8,
        }
    }

    #[test]
    fn each_public_field_has_a_setter() {
        let settings = Settings::default().workers(2).idle_timeout(Duration::from_secs(60)).names(vec!["a".into()]);
        let names = Some(vec!["a".into()]);
        let expected = Settings { workers: 2, idle_timeout: Some(Duration::from_secs(60)), names, hidden: 0 };
        assert_eq!(settings, expected);
        assert_eq!(settings.idle_timeout(None).names(Some(Vec::new())).idle_timeout, None);
    }
}
