//! Access to a connection's socket on its worker's thread: options, and the kernel's view of it.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Poll, Waker};

use socket2::SockRef;

use crate::connection::Connection;
use crate::connection::sender::ByteSender;
use crate::driver::tcp_info::{self, TcpInfo};
use crate::shared::ConnShared;
use crate::shared::command::{Command, SocketTask};
use crate::util::sync::Mutex;

/// # Socket
impl Connection {
    /// Runs `task` on the connection's socket, on its worker's thread, and returns its result. Gives access to socket
    /// options and the kernel's TCP state on every engine. The task runs within the worker's next few ticks; a sleeping
    /// worker is woken for it. It must not block, read, write or shut down, nor change whether the socket blocks.
    ///
    /// # Errors
    /// `NotConnected` if the connection is closed by then; otherwise the error of `task`.
    ///
    /// ```no_run
    /// # async fn example(connection: tidegate_engine::Connection) -> std::io::Result<()> {
    /// connection.with_socket(|socket| socket.set_send_buffer_size(1 << 20)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn with_socket<T: Send + 'static>(
        &self,
        task: impl FnOnce(SockRef<'_>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        ask(self.shared(), task).await
    }

    /// Returns the kernel's view of this TCP connection, read on its worker's thread: for a health page, or to find
    /// slow peers.
    ///
    /// ```no_run
    /// # async fn example(connection: tidegate_engine::Connection) -> std::io::Result<()> {
    /// let info = connection.tcp_info().await?;
    /// println!("{:?} away, {} segments sent again", info.round_trip, info.retransmitted_segments_total);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` on systems other than Linux, the kernel's error for a Unix-domain socket, and those of
    /// [`with_socket`](Self::with_socket).
    pub async fn tcp_info(&self) -> io::Result<TcpInfo> {
        self.with_socket(|socket| tcp_info::read(&socket)).await
    }
}

struct SocketAnswer<T> {
    answer: Option<io::Result<T>>,
    waker: Option<Waker>,
}

impl ByteSender {
    /// As [`Connection::with_socket`], from any task. The future borrows nothing.
    ///
    /// # Errors
    /// As [`Connection::with_socket`].
    pub fn with_socket<T: Send + 'static, F>(&self, task: F) -> impl Future<Output = io::Result<T>> + Send + use<T, F>
    where
        F: FnOnce(SockRef<'_>) -> io::Result<T> + Send + 'static,
    {
        ask(&self.shared, task)
    }

    /// As [`Connection::tcp_info`], from any task. The future borrows nothing.
    ///
    /// # Errors
    /// As [`Connection::tcp_info`].
    pub fn tcp_info(&self) -> impl Future<Output = io::Result<TcpInfo>> + Send + use<> {
        ask(&self.shared, |socket| tcp_info::read(&socket))
    }
}

/// Runs a task on a socket, on its worker's thread. The future awaits its result.
fn ask<T, F>(shared: &ConnShared, task: F) -> impl Future<Output = io::Result<T>> + Send + use<T, F>
where
    T: Send + 'static,
    F: FnOnce(SockRef<'_>) -> io::Result<T> + Send + 'static,
{
    let slot = Arc::new(Mutex::new(SocketAnswer { answer: None, waker: None }));
    let fill = Arc::clone(&slot);
    let run: SocketTask = Box::new(move |socket| {
        // A panic in the task must not end the worker and its other connections.
        let answer = catch_unwind(AssertUnwindSafe(|| socket.and_then(task)))
            .unwrap_or_else(|_| Err(io::Error::other("the task on the socket panicked")));
        let mut slot = fill.lock();
        slot.answer = Some(answer);
        if let Some(waker) = slot.waker.take() {
            drop(slot);
            waker.wake();
        }
    });
    shared.post(Command::Socket(shared.key, run));
    poll_fn(move |cx| {
        let mut slot = slot.lock();
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
}
