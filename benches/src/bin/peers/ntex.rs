//! ntex on its io_uring runtime, at the level of its HTTP service: the WebSocket codec of its `web` layer accepts no
//! message above 64 KiB.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ::ntex::http::body::BodySize;
use ::ntex::http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use ::ntex::http::{HttpService, HttpServiceConfig, KeepAlive, Request, Response, h1};
use ::ntex::io::{DispatchItem, Dispatcher, Io, IoConfig, IoRef};
use ::ntex::service::fn_service;
use ::ntex::time::Seconds;
use ::ntex::util::{ByteString, Ready};
use ::ntex::ws::{Codec, Frame, Message, handshake};
use ::ntex::{SharedCfg, rt, server};
use tidegate_benches::socket;

use crate::{HELLO, MESSAGE_BYTES_MAX, Outcome};

const NAME: &str = "peers";

/// Connections of the hub. A worker is one thread.
type Hub = Rc<RefCell<Vec<IoRef>>>;

pub fn serve(address: SocketAddr) -> Outcome {
    let listener = socket::listen(address)?;
    rt::System::build().name(NAME).build(rt::DefaultRuntime).block_on(async move {
        let config = SharedCfg::new(NAME)
            .add(HttpServiceConfig::new().set_keepalive(KeepAlive::Os))
            .add(IoConfig::new().set_keepalive_timeout(Seconds::ZERO));
        server::build()
            .workers(1)
            .disable_signals()
            .listen(NAME, listener, async |_| {
                let hub = Hub::default();
                HttpService::h1(|request: Request| Ready::Ok::<_, io::Error>(respond(&request))).control(
                    move |control: h1::Control<_, _>| {
                        let hub = hub.clone();
                        let ack = match control {
                            h1::Control::Upgrade(upgrade) => {
                                upgrade.handle(move |request, io, codec| attend(request, io, codec, hub))
                            }
                            other => other.ack(),
                        };
                        Ready::Ok::<_, io::Error>(ack)
                    },
                )
            })?
            .config(NAME, config)
            .run()
            .await
    })?;
    Ok(())
}

fn respond(request: &Request) -> Response {
    if request.path() != "/plaintext" {
        return Response::NotFound().finish();
    }
    let mut response = Response::Ok().body(HELLO);
    let fields = response.headers_mut();
    fields.insert(SERVER, HeaderValue::from_static("ntex"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Answers the opening handshake and serves the WebSocket until it ends.
async fn attend(request: Request, io: Io, codec: h1::Codec, hub: Hub) -> io::Result<()> {
    let response = handshake(request.head()).map_err(io::Error::other)?.message_body(());
    io.encode((response, BodySize::None).into(), &codec).map_err(io::Error::other)?;
    // Stops the request head's timeout, which would end the WebSocket.
    io.stop_timer();
    let is_hub = request.path() == "/hub";
    let member = io.get_ref();
    if is_hub {
        hub.borrow_mut().push(member.clone());
    }
    let members = is_hub.then(|| hub.clone());
    let socket = member.clone();
    let messages = fn_service(move |item| {
        if matches!(item, DispatchItem::Item(Frame::Close(_))) {
            // Closes after the reply, as the web layer does.
            let socket = socket.clone();
            rt::spawn(async move { socket.close() });
        }
        Ready::Ok::<_, io::Error>(answer(item, members.as_ref()))
    });
    let ended = Dispatcher::new(io.seal(), Codec::new().max_size(MESSAGE_BYTES_MAX), messages).await;
    hub.borrow_mut().retain(|other| *other != member);
    ended.map_err(|error| io::Error::other(format!("{error:?}")))
}

/// Returns the reply to an item. Data is echoed, or sent to the `members` if there are any; a ping and a close are
/// answered.
fn answer(item: DispatchItem<Codec>, members: Option<&Hub>) -> Option<Message> {
    let DispatchItem::Item(frame) = item else { return None };
    let message = match frame {
        Frame::Text(text) => Message::Text(ByteString::try_from(text).ok()?),
        Frame::Binary(payload) => Message::Binary(payload),
        Frame::Ping(payload) => return Some(Message::Pong(payload)),
        Frame::Close(reason) => return Some(Message::Close(reason)),
        Frame::Pong(_) | Frame::Continuation(_) => return None,
    };
    let Some(members) = members else { return Some(message) };
    for member in members.borrow().iter() {
        // A connection that is closing refuses it, and leaves the hub when it has ended.
        let _ = member.encode(message.clone(), &Codec::new());
    }
    None
}
