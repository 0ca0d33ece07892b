//! What we ask of the browser beyond the document, and functions of ours that it calls: listeners, timers, promises (wasm only).
//! What is held goes when it is dropped.
//!
//! Plain callbacks instead of futures, plain global functions instead of `Window`'s: an executor and its tasks would weigh a fifth of the panel.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::{Function, Promise};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, Event, EventTarget, ResizeObserver};

use super::Done;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setInterval)]
    fn set_interval(callback: &Function, milliseconds: i32) -> i32;

    #[wasm_bindgen(js_name = clearInterval)]
    fn clear_interval(handle: i32);

    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &JsValue, milliseconds: i32);

    /// A promise whose callbacks are plain functions.
    #[wasm_bindgen(js_name = Promise)]
    type Settling;

    #[wasm_bindgen(method)]
    fn then(this: &Settling, resolved: &JsValue, rejected: &JsValue);
}

/// A function for the browser, good as long as it is held.
struct Callback(Closure<dyn FnMut(JsValue)>);

impl Callback {
    fn new(handler: Box<dyn FnMut(JsValue)>) -> Self {
        Self(Closure::wrap(handler))
    }

    fn function(&self) -> &Function {
        self.0.as_ref().unchecked_ref()
    }
}

/// A listener; dropping it removes it.
pub struct Listener {
    target: EventTarget,
    kind: &'static str,
    callback: Callback,
}

impl Listener {
    /// Listens for `kind` on `target`.
    pub fn new(target: &EventTarget, kind: &'static str, handler: impl Fn(&Event) + 'static) -> Self {
        let callback = Callback::new(Box::new(move |event| handler(event.unchecked_ref())));
        // Fails on no event target there is.
        let _ = target.add_event_listener_with_callback(kind, callback.function());
        Self { target: target.clone(), kind, callback }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.target.remove_event_listener_with_callback(self.kind, self.callback.function());
    }
}

/// A timer; dropping it stops it.
pub struct Interval {
    handle: i32,
    _callback: Callback,
}

impl Interval {
    /// Calls `handler` every `milliseconds`.
    pub fn new(milliseconds: i32, handler: impl Fn() + 'static) -> Self {
        let callback = Callback::new(Box::new(move |_| handler()));
        Self { handle: set_interval(callback.function(), milliseconds), _callback: callback }
    }
}

impl Drop for Interval {
    fn drop(&mut self) {
        clear_interval(self.handle);
    }
}

/// Watches an element's size; dropping it stops that.
pub struct SizeWatch {
    observer: ResizeObserver,
    _callback: Callback,
}

impl SizeWatch {
    /// Calls `handler` now and whenever the element's size has changed. `None` where the browser cannot.
    pub fn new(element: &Element, handler: impl Fn() + 'static) -> Option<Self> {
        let callback = Callback::new(Box::new(move |_| handler()));
        let observer = ResizeObserver::new(callback.function()).ok()?;
        observer.observe(element);
        Some(Self { observer, _callback: callback })
    }
}

impl Drop for SizeWatch {
    fn drop(&mut self) {
        self.observer.disconnect();
    }
}

/// Calls `act` once, after some milliseconds.
pub fn after(milliseconds: i32, act: impl FnOnce() + 'static) {
    set_timeout(&once(Box::new(move |_| act())), milliseconds);
}

/// Calls `done` once with what the promise comes to; `None` for a refusal.
pub fn when(promise: &Promise, done: impl FnOnce(Option<JsValue>) + 'static) {
    let done: Rc<Cell<Option<Done<Option<JsValue>>>>> = Rc::new(Cell::new(Some(Box::new(done))));
    let rejected = done.clone();
    promise
        .unchecked_ref::<Settling>()
        .then(&once(Box::new(move |value| finish(&done, Some(value)))), &once(Box::new(move |_| finish(&rejected, None))));
}

fn finish(done: &Cell<Option<Done<Option<JsValue>>>>, value: Option<JsValue>) {
    if let Some(done) = done.take() {
        done(value);
    }
}

/// A function for the browser that frees itself when it is called, or when the browser forgets it.
fn once(handler: Done<JsValue>) -> JsValue {
    Closure::once_into_js(handler)
}
