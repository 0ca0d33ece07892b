// One ticket in the workspace: its conversation, the reply editor and the app beside it.

import { AppHost } from "/agent/files/app-host.js";

const element = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
let ticketId = location.pathname.split("/").pop();
const isNew = ticketId === "new";
const editor = element("editor");
const asAgent = (path) => `${path}?${new URLSearchParams(query.has("agent") ? { agent: query.get("agent") } : {})}`;

// How the page treats its app, for tests: what AppHost takes, and
//   without_ticket: the app is not told the ticket when it registers
//   sandbox_without: what the app's frame may not do, such as `allow-popups`
const behaviour = JSON.parse(query.get("behaviour") ?? "{}");

let data = null;
let host = null;
let scheme = query.get("scheme") ?? localStorage.getItem("scheme")
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

// ---- the ticket ----

async function load() {
  const response = await fetch(asAgent(`/agent/data/${ticketId}`));
  const answer = await response.json();
  if (!response.ok) {
    document.querySelector("main").replaceChildren(Object.assign(document.createElement("p"), {
      className: "refused",
      textContent: answer.error?.message ?? answer.description ?? "This ticket cannot be shown.",
    }));
    element("app-card").hidden = true;
    return false;
  }
  data = answer;
  return true;
}

function showTicket() {
  const { ticket, agent, agents } = data;
  document.title = isNew ? "New ticket" : `#${ticket.id} ${ticket.subject}`;
  element("number").textContent = isNew ? "New ticket" : `#${ticket.id}`;
  element("status").textContent = ticket?.status ?? "new";
  element("status").className = `status ${ticket?.status ?? "new"}`;
  element("subject").textContent = ticket?.subject ?? "New ticket";
  element("new-ticket").hidden = !isNew;
  element("agent").replaceChildren(...agents.map((other) => new Option(other.name, other.id, false, other.id === agent.id)));
  const publicMode = document.querySelector("[name=mode][value=publicReply]");
  publicMode.disabled = agent.light_agent;
  if (agent.light_agent) setMode("internalNote");
  const rows = isNew ? [["Assignee", agent.name]] : [
    ["Requester", ticket.requester?.name],
    ["E-mail", ticket.requester?.email],
    ["Organization", ticket.organization],
    ["Assignee", ticket.assignee?.name],
    ["Group", ticket.group],
    ["Type", ticket.type],
    ["Priority", ticket.priority],
    ["Tags", ticket.tags.join(", ")],
    ...Object.entries(ticket.custom_fields).map(([id, value]) => [`Field ${id}`, value]),
  ];
  element("properties").replaceChildren(...rows.flatMap(([name, value]) => [
    Object.assign(document.createElement("dt"), { textContent: name }),
    Object.assign(document.createElement("dd"), { textContent: value || "–" }),
  ]));
  const conversation = element("conversation");
  const atEnd = conversation.scrollHeight - conversation.scrollTop - conversation.clientHeight < 40;
  const shown = new Set([...conversation.children].map((comment) => comment.dataset.id));
  const fresh = data.comments.filter((comment) => !shown.has(String(comment.id)));
  conversation.append(...fresh.map(commentElement));
  if (fresh.length && (atEnd || shown.size === 0)) conversation.scrollTop = conversation.scrollHeight;
  return fresh.length > 0 && shown.size > 0;
}

function commentElement(comment) {
  const article = document.createElement("article");
  article.className = `comment ${comment.public ? "public" : "internal"} ${comment.author?.role ?? ""}`;
  article.dataset.id = comment.id;
  const head = document.createElement("header");
  const avatar = document.createElement("span");
  avatar.className = "avatar";
  avatar.setAttribute("aria-hidden", "true");
  const name = comment.author?.name ?? "Unknown";
  avatar.textContent = name.split(" ").map((word) => word[0]).slice(0, 2).join("");
  const author = Object.assign(document.createElement("b"), { textContent: name });
  const when = document.createElement("time");
  when.dateTime = comment.created_at;
  when.textContent = new Date(comment.created_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  head.append(avatar, author);
  if (!comment.public) head.append(Object.assign(document.createElement("span"), { className: "badge", textContent: "Internal" }));
  head.append(when);
  const body = document.createElement("div");
  body.className = "body";
  body.append(inert(comment.html));
  article.append(head, body);
  for (const file of comment.attachments) {
    const link = document.createElement("a");
    link.className = "file";
    link.href = file.content_url;
    link.textContent = `${file.file_name} (${Math.ceil(file.size / 1024)} kB)`;
    article.append(link);
  }
  return article;
}

const SHOWN_TAGS = new Set(("A B BLOCKQUOTE BR CODE DD DEL DIV DL DT EM H1 H2 H3 H4 H5 H6 HR I INS KBD LI OL P PRE S SPAN "
  + "STRONG SUB SUP TABLE TBODY TD TFOOT TH THEAD TR U UL").split(" "));

// Comment HTML as new elements from a short list: whatever came through, nothing in it can run or load.
function inert(html) {
  const copy = (from, to) => {
    for (const node of from.childNodes) {
      if (node.nodeType === Node.TEXT_NODE) to.append(node.data);
      else if (node.nodeType === Node.ELEMENT_NODE && SHOWN_TAGS.has(node.tagName)) {
        const made = document.createElement(node.tagName);
        if (node.tagName === "A" && /^(https?|mailto):/i.test(node.getAttribute("href") ?? "")) {
          Object.assign(made, { href: node.getAttribute("href"), target: "_blank", rel: "noopener noreferrer" });
        }
        for (const span of ["colspan", "rowspan"]) {
          if (node.hasAttribute(span)) made.setAttribute(span, node.getAttribute(span));
        }
        copy(node, made);
        to.append(made);
      }
    }
    return to;
  };
  return copy(new DOMParser().parseFromString(html, "text/html").body, document.createDocumentFragment());
}

// ---- the reply ----

function mode() {
  return document.querySelector("[name=mode]:checked").value;
}

function setMode(wanted) {
  const button = document.querySelector(`[name=mode][value=${CSS.escape(wanted)}]`);
  if (!button || button.disabled) return false;
  button.checked = true;
  element("composer").classList.toggle("internal", wanted === "internalNote");
  return true;
}

function insert(text) {
  editor.setRangeText(String(text), editor.selectionStart, editor.selectionEnd, "end");
}

function append(text) {
  editor.value += (editor.value && !editor.value.endsWith("\n") ? "\n" : "") + String(text);
}

function textOf(html) {
  const body = new DOMParser().parseFromString(String(html).replace(/<br\s*\/?>|<\/p>|<\/div>|<\/li>/gi, "$&\n"), "text/html").body;
  return body.textContent.trim();
}

async function submit(event) {
  event.preventDefault();
  const error = element("composer-error");
  error.textContent = "";
  const comment = { text: editor.value, public: mode() === "publicReply" };
  if (isNew) {
    comment.subject = element("new-subject").value;
    comment.requester_email = element("new-requester").value;
  }
  const veto = await host?.ask("ticket.save", {});
  if (veto !== undefined) {
    toast(veto, "error");
    return;
  }
  host?.trigger("ticket.submit.start", {});
  const response = await fetch(asAgent(isNew ? "/agent/tickets/new" : `/agent/tickets/${ticketId}/comments`), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(comment),
  });
  const answer = await response.json();
  if (!response.ok) {
    error.textContent = Object.entries(answer.details ?? {}).map(([field, [{ description }]]) => `${field} ${description}`).join(", ")
      || "The ticket could not be saved.";
    host?.trigger("ticket.submit.fail", error.textContent);
  } else {
    editor.value = "";
    host?.trigger("ticket.submit.done", {});
  }
  host?.trigger("ticket.submit.always", {});
  if (response.ok && isNew) location.assign(asAgent(`/agent/tickets/${answer.id}`));
}

// ---- the app ----

const toClient = (person) => person && { id: person.id, name: person.name, email: person.email, role: person.role, locale: person.locale };

// What an app can read, by path; a path that ends in a person or in the comment goes on into its properties.
function surfaceRead(path) {
  const { ticket, agent, subdomain } = data;
  const field = /^ticket\.customField:(custom_field_(\d+))$/.exec(path);
  if (field) {
    // A saved field that has no value is null, as is any field of a new ticket.
    return { value: ticket?.custom_fields[field[2]] ?? null };
  }
  const comment = { text: editor.value, type: mode(), useRichText: false, attachments: [] };
  const values = {
    "ticket": () => ticket && { id: ticket.id, subject: ticket.subject, status: ticket.status, isNew },
    "ticket.id": () => ticket?.id,
    "ticket.isNew": () => isNew,
    "ticket.subject": () => ticket?.subject ?? element("new-subject").value,
    "ticket.description": () => ticket?.description,
    "ticket.status": () => ticket?.status ?? "new",
    "ticket.priority": () => ticket?.priority,
    "ticket.type": () => ticket?.type,
    "ticket.externalId": () => ticket?.external_id,
    "ticket.tags": () => ticket?.tags ?? [],
    "ticket.requester": () => toClient(ticket?.requester),
    "ticket.assignee": () => ({ user: toClient(ticket?.assignee), group: ticket?.group }),
    "ticket.organization": () => ticket?.organization && { name: ticket.organization },
    "ticket.brand": () => ({ id: 1, name: subdomain, subdomain }),
    "ticket.comment": () => comment,
    "ticket.conversation": () => data.comments.map(({ id, author, html, created_at }) => ({
      id, author: toClient(author), timestamp: created_at, channel: { name: "api" },
      message: { content: html, contentType: "text/html" },
    })),
    "ticketFields": () => Object.keys(ticket?.custom_fields ?? {}).map((id) => ({ name: `custom_field_${id}`, label: `Field ${id}` })),
    "comment": () => comment,
    "currentUser": () => toClient(agent),
    "currentAccount": () => ({ subdomain, planName: "Enterprise", timeZone: { name: "Berlin" } }),
    "colorScheme": () => scheme,
  };
  if (Object.hasOwn(values, path)) return { value: values[path]() ?? null };
  const inner = /^(ticket\.requester|ticket\.comment|comment|currentUser|currentAccount)\.(\w+)$/.exec(path);
  const owner = inner && values[inner[1]]();
  if (inner && !owner) return { value: null };
  return owner && Object.hasOwn(owner, inner[2]) ? { value: owner[inner[2]] ?? null } : undefined;
}

function surfaceWrite(path, value) {
  const field = /^ticket\.customField:custom_field_(\d+)$/.exec(path);
  if (field && data.ticket) {
    data.ticket.custom_fields[field[1]] = value;
    showTicket();
    return true;
  }
  switch (path) {
    case "comment.type":
    case "ticket.comment.type":
      return setMode(String(value));
    case "comment.text":
    case "ticket.comment.text":
      editor.value = String(value);
      return true;
    default:
      return false;
  }
}

function actions(frame) {
  const appendHtml = (html) => append(textOf(html));
  return {
    resize({ width, height } = {}) {
      const pixels = /^(\d+(?:\.\d+)?)(px)?$/.exec(String(height ?? ""));
      if (pixels) frame.style.height = `${Math.min(Math.max(Number(pixels[1]), 50), 2000)}px`;
      return { width, height };
    },
    notify(message, kind = "notice", duration = 5000) {
      toast(message, kind, duration);
    },
    "app.close"() {
      frame.hidden = true;
    },
    "comment.appendText": append,
    "ticket.comment.appendText": append,
    "comment.appendMarkdown": append,
    "ticket.comment.appendMarkdown": append,
    "comment.appendHtml": appendHtml,
    "ticket.comment.appendHtml": appendHtml,
    "ticket.editor.insert": (html) => insert(textOf(html)),
    "ticket.editor.hyperlink": (url, text) => insert(text ? `${text} (${url})` : url),
  };
}

// Opens the app as the real workspace does: a signed form POST into a sandboxed frame (zendesk.md b.1, c.8).
async function launchApp() {
  host?.close();
  host = null;
  const parameters = new URLSearchParams({ colorScheme: scheme });
  if (query.has("agent")) parameters.set("agent", query.get("agent"));
  const response = await fetch(`/agent/launch/${ticketId}?${parameters}`, { method: "POST" });
  const app = await response.json();
  element("app-place").replaceChildren();
  element("app-missing").hidden = Boolean(app.app_url);
  if (!app.app_url) return;
  element("app-name").textContent = app.metadata.name;
  const frame = document.createElement("iframe");
  frame.id = "app";
  frame.name = `app_${app.app_guid}`;
  frame.title = app.metadata.name;
  const allowed = "allow-forms allow-popups allow-popups-to-escape-sandbox allow-same-origin allow-scripts allow-downloads".split(" ");
  frame.setAttribute("sandbox", allowed.filter((name) => !behaviour.sandbox_without?.includes(name)).join(" "));
  frame.setAttribute("allow", "clipboard-write");
  const target = new URL(app.app_url);
  for (const [name, value] of new URLSearchParams(app.query)) target.searchParams.append(name, value);
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: target.href, target: frame.name, hidden: true });
  const token = document.createElement("input");
  Object.assign(token, { type: "hidden", name: "token", value: app.token });
  form.append(token);
  element("app-place").append(frame, form);
  if (behaviour.without_ticket) delete app.context.ticketId;
  host = new AppHost(frame, target.origin, app.app_guid, { metadata: app.metadata, context: app.context }, {
    read: surfaceRead,
    write: surfaceWrite,
    actions: actions(frame),
  }, behaviour);
  window.appHost = host;
  form.submit();
  form.remove();
}

// Puts another ticket under the frame that is there, and tells the app by that event alone.
window.switchTicket = async (id, event) => {
  ticketId = String(id);
  await load();
  element("conversation").replaceChildren();
  editor.value = "";
  showTicket();
  const { context } = host.registration;
  if ("ticketId" in context) context.ticketId = id;
  host.trigger(event, event === "context.updated" ? context : {});
};

// ---- the rest ----

function toast(message, kind = "notice", duration = 5000) {
  const box = document.createElement("div");
  box.className = `toast ${["notice", "alert", "error", "success"].includes(kind) ? kind : "notice"}`;
  box.textContent = String(message);
  element("toasts").append(box);
  setTimeout(() => box.remove(), Math.min(Math.max(Number(duration) || 5000, 1000), 20000));
}

function setScheme(wanted) {
  scheme = wanted === "dark" ? "dark" : "light";
  document.documentElement.dataset.scheme = scheme;
  element("scheme").textContent = scheme === "dark" ? "Light" : "Dark";
  host?.trigger("colorScheme.changed", scheme);
}

setScheme(scheme);
element("scheme").addEventListener("click", () => {
  setScheme(scheme === "dark" ? "light" : "dark");
  localStorage.setItem("scheme", scheme);
});
element("agent").addEventListener("change", (event) => {
  query.set("agent", event.target.value);
  location.search = query.toString();
});
for (const button of document.querySelectorAll("[name=mode]")) {
  button.addEventListener("change", () => setMode(button.value));
}
element("composer").addEventListener("submit", submit);
element("app-reload").addEventListener("click", launchApp);

if (await load()) {
  showTicket();
  await launchApp();
  const events = new EventSource(asAgent(`/agent/events/${ticketId}`));
  events.addEventListener("ticket", async () => {
    if (await load() && showTicket()) host?.trigger("ticket.conversation.changed", surfaceRead("ticket.conversation").value);
  });
  events.addEventListener("notification", ({ data: text }) => {
    const { event, body } = JSON.parse(text);
    host?.trigger(`api_notification.${event}`, { body, sender: "system" });
  });
}
