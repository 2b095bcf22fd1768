//! A register of users and their WebSockets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::extensions::Extensions;
use crate::conn::prepared::PreparedMessage;
use crate::conn::sender::Sender;
use crate::conn::websocket::WebSocket;
use crate::sync::lock;
use crate::usage_error::UsageError;

/// The process-unique id of a registered WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the id as a number; [`From`] converts it back.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl From<u64> for ConnectionId {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A register of users and their WebSockets, several for each user. A clone is another handle to the same register. It
/// works on any thread, inside and outside of the engine, and can hold connections of several servers.
///
/// The [`Extensions`] of a connection can be read and changed through it from anywhere. Nothing here waits: a
/// connection whose outbound queue is full does not get what is sent to its user.
///
/// ```no_run
/// use http::StatusCode;
/// use tidegate_http::{Request, RequestHead, Router, Server};
/// use tidegate_websocket::{CloseCode, Users, upgrade};
///
/// struct UserId(u64);
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let users = Users::default();
/// let admin = users.clone();
/// let chat = upgrade(async move |mut ws| {
///     let user = ws.extension::<UserId>().map_or(0, |id| id.0);
///     let _registration = users.register(user, &mut ws);
///     while let Some(message) = ws.recv().await? {
///         // To the other devices, and to this one.
///         users.send(user, message);
///     }
///     Ok(())
/// })
/// .authorize(async |head: &RequestHead| match head.param("user").and_then(|user| user.parse().ok()) {
///     Some(user) => Ok(UserId(user)),
///     None => Err(StatusCode::NOT_FOUND),
/// });
/// let app = Router::new().get("/users/:user", chat).post("/kick/:id", async move |request: Request| {
///     let id = request.param("id").and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
///     let closed = admin.close(id.into(), CloseCode::POLICY_VIOLATION, "kicked");
///     if closed == Ok(true) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
/// });
/// Server::builder(app).bind("127.0.0.1:9001")?.run()
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Users {
    register: Arc<Mutex<Register>>,
}

#[derive(Default)]
struct Register {
    connections: HashMap<ConnectionId, UserConnection>,
    /// The same connections in the order of their users.
    by_user: BTreeSet<(u64, ConnectionId)>,
}

impl Register {
    fn of_user(&self, user: u64) -> impl Iterator<Item = &UserConnection> {
        let ids = self.by_user.range((user, ConnectionId(0))..=(user, ConnectionId(u64::MAX)));
        ids.filter_map(|(_, id)| self.connections.get(id))
    }
}

impl Users {
    /// Returns an empty register.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a WebSocket for a user until the registration is dropped. Users are numbers that the application
    /// chooses. One WebSocket can be registered for several users. It costs about 150 bytes, in addition to
    /// [`WebSocket::extensions`].
    pub fn register(&self, user: u64, ws: &mut WebSocket) -> UserRegistration {
        self.register_with(user, ws.sender(), ws.extensions())
    }

    /// Registers a WebSocket by its parts, as [`register`](Self::register) does, for event handlers: they keep the
    /// registration in their state.
    ///
    /// ```
    /// use tidegate_websocket::{EventHandler, EventSocket, UserRegistration, Users};
    ///
    /// fn enter<H: EventHandler>(users: &Users, user: u64, ws: &mut EventSocket<'_, H>) -> UserRegistration {
    ///     users.register_with(user, ws.sender(), ws.extensions())
    /// }
    /// ```
    pub fn register_with(&self, user: u64, sender: Sender, extensions: Extensions) -> UserRegistration {
        let connection = UserConnection { id: ConnectionId::next(), user, sender, extensions };
        let mut register = lock(&self.register);
        register.by_user.insert((user, connection.id));
        register.connections.insert(connection.id, connection.clone());
        drop(register);
        UserRegistration { users: self.clone(), connection }
    }

    /// Returns the connections of a user, in the order of their registration.
    pub fn connections_of(&self, user: u64) -> Vec<UserConnection> {
        lock(&self.register).of_user(user).cloned().collect()
    }

    /// Returns all connections, in no particular order.
    pub fn connections(&self) -> Vec<UserConnection> {
        lock(&self.register).connections.values().cloned().collect()
    }

    /// Returns the connection with this id, while it is registered.
    pub fn connection(&self, id: ConnectionId) -> Option<UserConnection> {
        lock(&self.register).connections.get(&id).cloned()
    }

    /// Returns the users with connections and the number of connections of each, in the order of users. It looks at all
    /// connections.
    pub fn users(&self) -> BTreeMap<u64, usize> {
        let mut users = BTreeMap::new();
        for (user, _) in &lock(&self.register).by_user {
            *users.entry(*user).or_default() += 1;
        }
        users
    }

    /// Returns whether the user has a connection.
    pub fn is_online(&self, user: u64) -> bool {
        lock(&self.register).of_user(user).next().is_some()
    }

    /// Returns the number of connections.
    pub fn len(&self) -> usize {
        lock(&self.register).connections.len()
    }

    /// Returns whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues a message, encoded once, for all connections of a user, and returns their number. Connections that are
    /// closed or whose queues are full are left out. It takes the lock of the register, and a lock of each of these
    /// connections: for very many connections use a [`Hub`](crate::Hub).
    pub fn send(&self, user: u64, message: impl Into<PreparedMessage>) -> usize {
        let connections = self.connections_of(user);
        if connections.is_empty() {
            return 0;
        }
        let message = message.into();
        connections.iter().filter(|connection| connection.sender.try_send_prepared(&message).is_ok()).count()
    }

    /// Closes one connection, wherever it is served, with [`Sender::close`]. Returns false if there is no such
    /// connection, or its close frame has already been sent. The handler completes the closing handshake by reading on;
    /// if it never reads, use [`abort`](Self::abort).
    ///
    /// # Errors
    /// [`UsageError`] for a code or reason that must not be sent; nothing was closed.
    pub fn close(&self, id: ConnectionId, code: CloseCode, reason: &str) -> Result<bool, UsageError> {
        // Checked first: such a frame is an error even if there is no connection.
        CloseFrame::new(code, reason)?;
        Ok(self.connection(id).is_some_and(|connection| connection.sender.close(code, reason).is_ok()))
    }

    /// Closes all connections of a user, and returns the number of those that had no close frame yet.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_user(&self, user: u64, code: CloseCode, reason: &str) -> Result<usize, UsageError> {
        CloseFrame::new(code, reason)?;
        let connections = self.connections_of(user);
        Ok(connections.iter().filter(|connection| connection.sender.close(code, reason).is_ok()).count())
    }

    /// Resets one connection at once, without a close frame. Returns false if there is no such connection.
    pub fn abort(&self, id: ConnectionId) -> bool {
        let connection = self.connection(id);
        connection.inspect(|connection| connection.sender.abort()).is_some()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("connections", &self.len()).finish_non_exhaustive()
    }
}

/// A registered WebSocket of a user, from [`Users::connection`] and [`Users::connections_of`].
///
/// ```
/// use tidegate_websocket::Users;
///
/// // The connections of one user, with the bytes that each has still to take.
/// fn print_queues(users: &Users, user: u64) {
///     for connection in users.connections_of(user) {
///         println!("{}: {} bytes", connection.id(), connection.sender().queued_bytes());
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct UserConnection {
    id: ConnectionId,
    user: u64,
    sender: Sender,
    extensions: Extensions,
}

impl UserConnection {
    /// Returns the id of the connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Returns the user.
    pub fn user(&self) -> u64 {
        self.user
    }

    /// Returns the sending half.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Returns the application's values for the connection.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

/// A registration in [`Users`]. Dropping it unregisters the WebSocket, even when a handler panics or its future is
/// dropped. Keep it in the handler, not in the connection's [`Extensions`]: it refers to them, so neither would ever be
/// dropped.
#[derive(Debug)]
#[must_use = "dropping it unregisters the WebSocket"]
pub struct UserRegistration {
    users: Users,
    connection: UserConnection,
}

impl UserRegistration {
    /// Returns the registered connection.
    pub fn connection(&self) -> &UserConnection {
        &self.connection
    }

    /// Returns the id of the connection.
    pub fn id(&self) -> ConnectionId {
        self.connection.id
    }
}

impl Drop for UserRegistration {
    fn drop(&mut self) {
        let UserConnection { id, user, .. } = self.connection;
        let mut register = lock(&self.users.register);
        register.by_user.remove(&(user, id));
        let removed = register.connections.remove(&id);
        drop(register);
        // Dropping runs code of the application: not under the lock.
        drop(removed);
    }
}
