// The host's half of the apps framework, for one iframe: handshake, get, set, invoke, events, hooks
// (zendesk.md c.3 to c.6). Knows messages only; what paths and actions mean is told by `surface`.

const HOOK_PATIENCE = 5000;
const LOG_LENGTH = 500;

export class AppHost {
  /// surface: { read(path) → {value} | undefined, write(path, value) → bool, actions: {name: (...args) → value} }
  /// behaviour, for tests of what an app makes of an odd page; each may be left out:
  ///   hold: `iframe.handshake`, requests (`get`), paths and actions (`comment.appendText`): done at once, answered by `release`
  ///   values: { path: value }, in place of what the surface reads
  ///   unknown: paths and actions that this page does not have
  constructor(frame, origin, guid, registration, surface, behaviour = {}) {
    Object.assign(this, { frame, origin, guid, registration, surface });
    this.held = new Set(behaviour.hold);
    this.values = { ...behaviour.values };
    this.unknown = new Set(behaviour.unknown);
    /// What `release` sends.
    this.answers = [];
    this.ready = false;
    this.subscriptions = new Set();
    this.replies = new Map();
    /// What went over the wire, for people who look into the console.
    this.log = [];
    this.listener = (event) => this.receive(event);
    window.addEventListener("message", this.listener);
  }

  close() {
    this.trigger("app.willDestroy", {});
    window.removeEventListener("message", this.listener);
  }

  /// Sends an event, if the app listens to it.
  trigger(event, message) {
    if (this.ready && this.subscriptions.has(event)) this.post({ key: `zaf.${event}`, message });
  }

  /// Asks a hook. Resolves to undefined for consent, else to the reason of the veto.
  ask(hook, message) {
    if (!this.ready || !this.subscriptions.has(hook)) return Promise.resolve(undefined);
    this.post({ key: `zaf.${hook}`, needsReply: true, message });
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), HOOK_PATIENCE);
      this.replies.set(hook, (veto) => { clearTimeout(timer); resolve(veto); });
    });
  }

  /// Sends what was held so far, and holds nothing any more.
  release() {
    this.held.clear();
    for (const send of this.answers.splice(0)) send();
  }

  /// Sends an answer: now, or later if something of that name is held.
  answer(names, send) {
    if (names.some((name) => this.held.has(name))) this.answers.push(send);
    else send();
  }

  post(message) {
    this.note("out", message);
    this.frame.contentWindow?.postMessage(JSON.stringify(message), this.origin);
  }

  note(direction, message) {
    this.log.push({ direction, message });
    if (this.log.length > LOG_LENGTH) this.log.shift();
  }

  receive(event) {
    if (event.source !== this.frame.contentWindow || event.origin !== this.origin) return;
    let message = event.data;
    if (typeof message === "string") {
      try { message = JSON.parse(message); } catch { return; }
    }
    if (message === null || typeof message !== "object" || message.appGuid !== this.guid) return;
    this.note("in", message);
    if (message.key === "iframe.handshake") this.answer([message.key], () => this.register());
    else if (!this.ready) return; // Only the handshake may come first.
    else if (typeof message.key === "string") this.receiveEvent(message);
    else if (message.id !== undefined && message.request !== undefined) this.receiveRequest(message);
  }

  register() {
    this.ready = true;
    this.post({ key: "zaf.app.registered", message: this.registration });
    this.post({ key: "zaf.app.activated", message: { firstLoad: true } });
  }

  receiveEvent({ key, message, error }) {
    const named = (prefix) => (key.startsWith(prefix) ? key.slice(prefix.length) : undefined);
    const [on, off, reply, request] = ["iframe.on:", "iframe.off:", "iframe.reply:", "request:"].map(named);
    if (on !== undefined) this.subscriptions.add(on);
    else if (off !== undefined && !(message?.subscriberCount > 0)) this.subscriptions.delete(off);
    else if (reply !== undefined) {
      const veto = error === undefined ? undefined : String(error?.msg ?? "refused");
      this.replies.get(reply)?.(veto);
      this.replies.delete(reply);
    } else if (request !== undefined) {
      // The proxy for client.request is not part of this account.
      const answer = { status: 403, responseText: `"${message?.url}" is not a proxyable URI` };
      this.trigger(`request:${request}.fail`, { responseArgs: [answer] });
    }
    // Everything else (session.live, __track__, iframe.trigger:…) is ignored, as the real host may.
  }

  async receiveRequest({ id, request, params }) {
    const methods = { get: this.get, set: this.set, invoke: this.invoke };
    if (!Object.hasOwn(methods, request)) {
      this.post({ id, error: { name: "Error", message: "No such method", path: String(request) } });
      return;
    }
    const names = [request, ...(Array.isArray(params) ? params : Object.keys(params ?? {}))];
    let answer;
    try {
      answer = { id, result: await methods[request].call(this, params) };
    } catch (error) {
      answer = { id, error: { name: error.name, message: error.message, path: request } };
    }
    this.answer(names, () => this.post(answer));
  }

  get(paths) {
    if (!Array.isArray(paths)) throw new TypeError("get takes a list of paths");
    const result = { errors: {} };
    for (const path of paths) {
      const found = this.find(path);
      if (found) result[path] = found.value;
      else result.errors[path] = noSuchApi(path);
    }
    return result;
  }

  find(path) {
    if (this.unknown.has(path)) return undefined;
    return Object.hasOwn(this.values, path) ? { value: this.values[path] } : this.surface.read(path);
  }

  set(values) {
    if (values === null || typeof values !== "object" || Array.isArray(values)) {
      throw new TypeError("set takes an object");
    }
    const result = { errors: {} };
    for (const [path, value] of Object.entries(values)) {
      if (!this.unknown.has(path) && this.surface.write(path, value)) result[path] = value;
      else result.errors[path] = noSuchApi(path);
    }
    return result;
  }

  invoke(actions) {
    if (actions === null || typeof actions !== "object") throw new TypeError("invoke takes an object");
    const result = { errors: {} };
    for (const [name, args] of Object.entries(actions)) {
      if (!Array.isArray(args)) throw new TypeError(`the arguments of ${name} must be an array`);
      if (this.unknown.has(name) || !Object.hasOwn(this.surface.actions, name)) {
        result.errors[name] = noSuchApi(name);
        continue;
      }
      try {
        result[name] = this.surface.actions[name](...args) ?? null;
      } catch (error) {
        result.errors[name] = { name: "APIError", message: error.message, path: name };
      }
    }
    return result;
  }
}

function noSuchApi(path) {
  return { name: "APIError", message: "No such Api", path };
}
