//! uWebSockets through its C interface: one thread, libuv, TLS unused, a topic for the hub.
//!
//! The functions of the interface are called on the thread that runs the application, with pointers they returned to it
//! and with bytes they copy before they return. They call the handlers of a behaviour without a null check, so all are
//! set.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::SocketAddr;
use std::ptr;

use libuwebsockets_sys as uws;
use tidegate_benches::handshake::Context;

use crate::{HELLO, MESSAGE_BYTES_MAX, Outcome};

/// First argument of every function: no TLS.
const PLAIN: c_int = 0;

/// Topic that all connections of the hub subscribe to.
const TOPIC: &CStr = c"hub";

/// Send queue above which uWebSockets drops messages: enough for windows of the largest ones.
const BACKPRESSURE_BYTES_MAX: usize = 8 * MESSAGE_BYTES_MAX;

pub fn serve(address: SocketAddr) -> Outcome {
    let host = CString::new(address.ip().to_string())?;
    let config = uws::uws_app_listen_config_t { port: c_int::from(address.port()), host: host.as_ptr(), options: 0 };
    let mut listening = false;
    // SAFETY: the C interface documents options of nulls and zeros as none.
    let app = unsafe { uws::uws_create_app(PLAIN, std::mem::zeroed()) };
    let echoing = match crate::deflate() {
        Some(deflate) => uws::uws_socket_behavior_t {
            compression: compression(deflate.context),
            ..behaviour(opened_nothing, echo_compressed)?
        },
        None => behaviour(opened_nothing, echo)?,
    };
    let publishing = behaviour(subscribe, publish)?;
    // SAFETY: the application lives until the process ends; its handlers get it as their user data. `host` and
    // `listening` live until `uws_app_run` has returned, and are used only before.
    unsafe {
        uws::uws_ws(PLAIN, app, c"/ws".as_ptr(), echoing, app.cast());
        uws::uws_ws(PLAIN, app, c"/hub".as_ptr(), publishing, app.cast());
        uws::uws_app_get(PLAIN, app, c"/plaintext".as_ptr(), Some(respond), app.cast());
        uws::uws_app_listen_with_config(PLAIN, app, config, Some(listened), ptr::from_mut(&mut listening).cast());
    }
    // The handler is called before the function returns.
    if !listening {
        return Err(format!("cannot listen on {address}").into());
    }
    // SAFETY: as above; the loop is this thread's.
    unsafe { uws::uws_app_run(PLAIN, app) };
    Err("the event loop of uWebSockets has ended".into())
}

type Opened = unsafe extern "C" fn(*mut uws::uws_websocket_t, *mut c_void);
type Received = unsafe extern "C" fn(*mut uws::uws_websocket_t, *const c_char, usize, uws::uws_opcode_t, *mut c_void);

/// Returns a behaviour with these handlers and without compression, timeouts and pings.
fn behaviour(opened: Opened, received: Received) -> Result<uws::uws_socket_behavior_t, std::num::TryFromIntError> {
    Ok(uws::uws_socket_behavior_t {
        compression: uws::uws_compress_options_t_DISABLED,
        maxPayloadLength: MESSAGE_BYTES_MAX.try_into()?,
        idleTimeout: 0,
        maxBackpressure: BACKPRESSURE_BYTES_MAX.try_into()?,
        closeOnBackpressureLimit: false,
        resetIdleTimeoutOnSend: false,
        sendPingsAutomatically: false,
        maxLifetime: 0,
        upgrade: None,
        open: Some(opened),
        message: Some(received),
        drain: Some(opened_nothing),
        ping: Some(heard),
        pong: Some(heard),
        close: Some(closed),
        subscription: None,
    })
}

/// Returns the compressors and decompressors: those that all connections share, or one of the largest for each.
fn compression(context: Context) -> uws::uws_compress_options_t {
    match context {
        Context::Reset => {
            uws::uws_compress_options_t_SHARED_COMPRESSOR | uws::uws_compress_options_t_SHARED_DECOMPRESSOR
        }
        Context::Kept => {
            uws::uws_compress_options_t_DEDICATED_COMPRESSOR | uws::uws_compress_options_t_DEDICATED_DECOMPRESSOR
        }
    }
}

unsafe extern "C" fn listened(
    socket: *mut uws::us_listen_socket_t,
    _: uws::uws_app_listen_config_t,
    listening: *mut c_void,
) {
    // SAFETY: the pointer is to the flag of `serve`, which waits for this call.
    unsafe { *listening.cast::<bool>() = !socket.is_null() };
}

unsafe extern "C" fn echo(
    ws: *mut uws::uws_websocket_t,
    message: *const c_char,
    length: usize,
    opcode: uws::uws_opcode_t,
    _: *mut c_void,
) {
    // SAFETY: the connection and the message are live during this call.
    unsafe { uws::uws_ws_send(PLAIN, ws, message, length, opcode) };
}

unsafe extern "C" fn echo_compressed(
    ws: *mut uws::uws_websocket_t,
    message: *const c_char,
    length: usize,
    opcode: uws::uws_opcode_t,
    _: *mut c_void,
) {
    // SAFETY: the connection and the message are live during this call.
    unsafe { uws::uws_ws_send_with_options(PLAIN, ws, message, length, opcode, true, true) };
}

unsafe extern "C" fn subscribe(ws: *mut uws::uws_websocket_t, _: *mut c_void) {
    // SAFETY: the connection is live during this call.
    unsafe { uws::uws_ws_subscribe(PLAIN, ws, TOPIC.as_ptr(), TOPIC.count_bytes()) };
}

unsafe extern "C" fn publish(
    _: *mut uws::uws_websocket_t,
    message: *const c_char,
    length: usize,
    opcode: uws::uws_opcode_t,
    app: *mut c_void,
) {
    // SAFETY: the user data of this route is the application; the message is live during this call.
    unsafe { uws::uws_publish(PLAIN, app.cast(), TOPIC.as_ptr(), TOPIC.count_bytes(), message, length, opcode, false) };
}

unsafe extern "C" fn respond(response: *mut uws::uws_res_t, _: *mut uws::uws_req_t, _: *mut c_void) {
    let field = |name: &str, value: &str| {
        // SAFETY: the response is live during the call of `respond`, and the texts have the lengths given.
        unsafe {
            uws::uws_res_write_header(
                PLAIN,
                response,
                name.as_ptr().cast(),
                name.len(),
                value.as_ptr().cast(),
                value.len(),
            )
        };
    };
    field("Server", "uWebSockets");
    field("Content-Type", "text/plain");
    // SAFETY: as above; the response is not used after.
    unsafe { uws::uws_res_end(PLAIN, response, HELLO.as_ptr().cast(), HELLO.len(), false) };
}

unsafe extern "C" fn opened_nothing(_: *mut uws::uws_websocket_t, _: *mut c_void) {}

unsafe extern "C" fn heard(_: *mut uws::uws_websocket_t, _: *const c_char, _: usize, _: *mut c_void) {}

unsafe extern "C" fn closed(_: *mut uws::uws_websocket_t, _: c_int, _: *const c_char, _: usize, _: *mut c_void) {}
