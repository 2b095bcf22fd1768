//! Users: which WebSockets each of them has, and any WebSocket by its id.

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
use crate::protocol_error::UsageError;
use crate::sync::lock;

/// Names one registered WebSocket; no other of the process has had it or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The id as a number, to be written down and come back through [`From`].
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

/// Which WebSockets each user has: several, from several devices. Cloning it gives another handle of the same register; it
/// is usable from any thread, inside and outside of the engine, and may hold connections of several servers.
///
/// What an application keeps with a connection, its [`Extensions`], is there too, to be read and changed from anywhere.
/// Nothing here waits: a connection whose outbound queue is full does not get what is sent to its user.
///
/// ```no_run
/// use http::StatusCode;
/// use tidegate_http::{Request, RequestHead, Router, Server};
/// use tidegate_websocket::{CloseCode, Users, WebSocket, upgrade};
///
/// struct UserId(u64);
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let users = Users::default();
/// let (here, admin) = (users.clone(), users);
/// let chat = upgrade(move |mut ws: WebSocket| {
///     let users = here.clone();
///     async move {
///         let user = ws.extension::<UserId>().map_or(0, |id| id.0);
///         let _registration = users.register(user, &mut ws);
///         while let Some(message) = ws.recv().await? {
///             // To the other devices, and to this one.
///             users.send(user, message);
///         }
///         Ok(())
///     }
/// })
/// .authorize(async |head: &RequestHead| match head.param("user").and_then(|user| user.parse().ok()) {
///     Some(user) => Ok(UserId(user)),
///     None => Err(StatusCode::NOT_FOUND),
/// });
/// let app = Router::new().get("/users/:user", chat).post("/kick/:id", move |request: Request| {
///     let id = request.param("id").and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
///     let closed = admin.close(id.into(), CloseCode::POLICY_VIOLATION, "kicked");
///     async move { if closed == Ok(true) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND } }
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
    /// The same, in the order of users: all of a user stand together.
    by_user: BTreeSet<(u64, ConnectionId)>,
}

impl Register {
    fn of_user(&self, user: u64) -> impl Iterator<Item = &UserConnection> {
        let ids = self.by_user.range((user, ConnectionId(0))..=(user, ConnectionId(u64::MAX)));
        ids.filter_map(|(_, id)| self.connections.get(id))
    }
}

impl Users {
    /// A register of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that this WebSocket is the user's, until the registration is dropped. A user is whatever number the
    /// application says; one WebSocket may be registered for several. Costs what [`WebSocket::extensions`] costs, and about
    /// 150 bytes.
    pub fn register(&self, user: u64, ws: &mut WebSocket) -> UserRegistration {
        let connection =
            UserConnection { id: ConnectionId::next(), user, sender: ws.sender(), extensions: ws.extensions() };
        let mut register = lock(&self.register);
        register.by_user.insert((user, connection.id));
        register.connections.insert(connection.id, connection.clone());
        drop(register);
        UserRegistration { users: self.clone(), connection }
    }

    /// The connections of a user, in the order of their registering.
    pub fn connections_of(&self, user: u64) -> Vec<UserConnection> {
        lock(&self.register).of_user(user).cloned().collect()
    }

    /// All connections, in no order.
    pub fn connections(&self) -> Vec<UserConnection> {
        lock(&self.register).connections.values().cloned().collect()
    }

    /// The connection of this id, while it is registered.
    pub fn connection(&self, id: ConnectionId) -> Option<UserConnection> {
        lock(&self.register).connections.get(&id).cloned()
    }

    /// The users who have a connection and how many each, in the order of their numbers. Looks at all connections.
    pub fn users(&self) -> BTreeMap<u64, usize> {
        let mut users = BTreeMap::new();
        for (user, _) in &lock(&self.register).by_user {
            *users.entry(*user).or_default() += 1;
        }
        users
    }

    /// Whether the user has a connection.
    pub fn is_online(&self, user: u64) -> bool {
        lock(&self.register).of_user(user).next().is_some()
    }

    /// Connections now.
    pub fn len(&self) -> usize {
        lock(&self.register).connections.len()
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues a message, encoded once, for all connections of a user; says for how many. Those that are not among them are
    /// closed, or their queues are full.
    pub fn send(&self, user: u64, message: impl Into<PreparedMessage>) -> usize {
        let connections = self.connections_of(user);
        if connections.is_empty() {
            return 0;
        }
        let message = message.into();
        connections.iter().filter(|connection| connection.sender.try_send_prepared(&message).is_ok()).count()
    }

    /// Closes one connection, wherever it is served: [`Sender::close`]. False if there is none of this id, or if its close
    /// frame has been sent. Its handler completes the closing handshake by reading on; one that never reads needs
    /// [`abort`](Self::abort).
    ///
    /// # Errors
    /// [`UsageError`] for a code or reason that must not be sent; nothing was closed then.
    pub fn close(&self, id: ConnectionId, code: CloseCode, reason: &str) -> Result<bool, UsageError> {
        CloseFrame::new(code, reason)?;
        Ok(self.connection(id).is_some_and(|connection| connection.sender.close(code, reason).is_ok()))
    }

    /// Closes all connections of a user; says how many.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_user(&self, user: u64, code: CloseCode, reason: &str) -> Result<usize, UsageError> {
        CloseFrame::new(code, reason)?;
        let connections = self.connections_of(user);
        Ok(connections.iter().filter(|connection| connection.sender.close(code, reason).is_ok()).count())
    }

    /// Ends one connection at once, without a close frame. False if there is none of this id.
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

/// A WebSocket of a user, as [`Users`] knows it: what is needed to reach it from elsewhere.
#[derive(Clone, Debug)]
pub struct UserConnection {
    id: ConnectionId,
    user: u64,
    sender: Sender,
    extensions: Extensions,
}

impl UserConnection {
    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whose it is.
    pub fn user(&self) -> u64 {
        self.user
    }

    /// A way to send to it, and to close it.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// What the application keeps with it.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

/// A WebSocket's place in [`Users`]. Dropping it unregisters: also when a handler's future is dropped or panics.
#[derive(Debug)]
#[must_use = "dropping it unregisters"]
pub struct UserRegistration {
    users: Users,
    connection: UserConnection,
}

impl UserRegistration {
    /// The registered connection.
    pub fn connection(&self) -> &UserConnection {
        &self.connection
    }

    /// Its id.
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
        // What it keeps may be the application's to drop: not under the lock.
        drop(removed);
    }
}
