//! The settings of a connection, and the agreements of its opening handshake.
//!
//! All connections of an upgrade that agreed on the same subprotocol share one context, so an idle connection pays
//! nothing for it but the session's one pointer. A connection that compresses, is a client's, has attachments, or
//! changes one of its settings or control handlers gets a copy.

use std::sync::Arc;

use crate::config::WebSocketConfig;
use crate::conn::attachments::Attachments;
use crate::conn::compression::Compression;
use crate::conn::control_handlers::ControlHandlers;
use crate::conn::encoding::Encoding;
use crate::role::Role;

/// The context of one or many connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnContext {
    pub(crate) config: WebSocketConfig,
    pub(crate) control: ControlHandlers,
    /// The subprotocol that was agreed on.
    pub(crate) subprotocol: Option<Arc<str>>,
    /// What is done to the messages of one connection; with a compressor, this copy is that connection's alone.
    pub(crate) encoding: Option<Arc<Encoding>>,
    /// The attachments of one connection; then this copy is that connection's alone.
    pub(crate) attachments: Option<Arc<Attachments>>,
}

impl ConnContext {
    /// Returns a context without agreements.
    pub(crate) fn new(config: WebSocketConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Returns a copy for connections that agreed on this subprotocol.
    pub(crate) fn with_subprotocol(&self, name: &str) -> Arc<Self> {
        Arc::new(Self { subprotocol: Some(name.into()), ..self.clone() })
    }

    /// Returns a copy for one connection that compresses.
    pub(crate) fn with_compression(&self, compression: Compression) -> Arc<Self> {
        self.with_encoding(Encoding::Deflated(compression))
    }

    /// Returns a copy for connections of a client that do not compress.
    pub(crate) fn masked(&self) -> Arc<Self> {
        self.with_encoding(Encoding::Masked)
    }

    fn with_encoding(&self, encoding: Encoding) -> Arc<Self> {
        Arc::new(Self { encoding: Some(Arc::new(encoding)), ..self.clone() })
    }

    pub(crate) fn role(&self) -> Role {
        self.encoding.as_ref().map_or(Role::Server, |encoding| encoding.role())
    }

    /// Returns a copy for the connection with these attachments.
    pub(crate) fn with_attachments(&self, attachments: Arc<Attachments>) -> Arc<Self> {
        Arc::new(Self { attachments: Some(attachments), ..self.clone() })
    }

    /// Returns the attachments of the connection with this context, and makes them if it has none.
    pub(crate) fn attachments_of(context: &mut Arc<Self>) -> &Attachments {
        if context.attachments.is_none() {
            *context = context.with_attachments(Arc::default());
        }
        context.attachments.as_ref().expect("made above")
    }
}
