//! The thread and the port of a server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::connection::{self, Responder};
use crate::transport::detour::Link;

/// Length of the queue of connections: more than the usual 1024, so that thousands of clients can connect in one burst.
const BACKLOG: i32 = 16_384;

/// A server on loopback, with a thread of its own.
pub(super) struct Server {
    port: u16,
    /// The process that started it. A forked child has no thread to stop.
    process: u32,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server; port 0 is any free one. `prepare` runs first on the new thread.
    ///
    /// # Errors
    ///
    /// The port is taken, or there is no thread or no descriptor for it.
    pub fn start(port: u16, responder: Arc<dyn Responder>, prepare: fn()) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // On Windows this would let two servers have the same port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = std::net::TcpListener::from(socket);
        let port = listener.local_addr()?.port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            prepare();
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                let accepting = std::pin::pin!(accept_all(&listener, port, &responder));
                futures_util::future::select(accepting, stopped).await;
                // A forked child keeps the port open otherwise, and nobody accepts what connects to it.
                drop(SockRef::from(&listener).shutdown(Shutdown::Both));
            });
        };
        let thread = std::thread::Builder::new().name("ritellm mock".into()).spawn(run)?;
        Ok(Self { port, process: std::process::id(), stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    /// Closes the port and all connections.
    fn drop(&mut self) {
        let (stop, thread) = (self.stop.take(), self.thread.take());
        if self.process != std::process::id() {
            std::mem::forget((stop, thread));
            return;
        }
        drop(stop);
        // A panic of the thread has been printed.
        drop(thread.map(JoinHandle::join));
    }
}

/// A connection that ends for the client, too, when it is dropped: a forked child may have a copy of its descriptor.
struct Accepted(TcpStream);

impl Drop for Accepted {
    fn drop(&mut self) {
        drop(SockRef::from(&self.0).shutdown(Shutdown::Both));
    }
}

async fn accept_all(listener: &TcpListener, port: u16, responder: &Arc<dyn Responder>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                drop(stream.set_nodelay(true));
                let responder = responder.clone();
                let is_local = peer.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
                let link = Link { client: if is_local { peer.port() } else { 0 }, server: port };
                let mut stream = Accepted(stream);
                tokio::spawn(async move { connection::serve(&mut stream.0, link, &*responder).await });
            }
            // Out of descriptors, for one: those that are waiting may get some later.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}
