// The customer's button in a Help Center: opens a support chat about the request on this page.
// It is served below 10,000 bytes, without its comments, and so not indented once more.

(() => {

const TEXTS = /*TEXTS*/{};
const script = document.currentScript;
const { connection = '', locale = document.documentElement.lang, ticket: given } = script.dataset;
const isGiven = /^\d+$/.test(given);
const ticket = isGiven ? given : location.pathname.match(/^\/hc\/(?:[\w-]+\/)?requests\/(\d+)\/?$/)?.[1];
if (!ticket) return;

const server = (path) => new URL(path, script.src).href;
const request = `/api/v2/requests/${ticket}.json`;
const builtIn = TEXTS[locale.slice(0, 2)] ?? TEXTS.en ?? {};
let ownPlace = isGiven && script.closest('body') && script;

// One button for each connection and ticket; a later script can only give it a place.
const name = `deskbridge-chat-${connection}-${ticket}`;
const buttons = (window.deskbridgeButtons = window.deskbridgeButtons ?? {});
if (buttons[name]) return buttons[name](ownPlace);
buttons[name] = (place) => {
  ownPlace = ownPlace || place;
  settle();
};

const state = { phase: 'checking', offer: { texts: {} }, chat: null, minutes: 0 };

// The phases with a button: its text, and what a press does.
const BUTTONS = {
  ready: ['start', start],
  opening: ['start'],
  wait: ['start'],
  open: ['show', () => state.chat.focus()],
  failed: ['retry', start],
  unavailable: ['retry', load],
};

// By status, or the end of the problem's type.
const REFUSALS = { 429: 'wait', 'not-your-ticket': 'not_yours', 'ticket-closed': 'closed', 'invalid-value': 'unavailable' };

// The button has the text's color; its label is black or white by luminance (y), 4.5:1 at least.
const STYLE = `
  :host { display: block; max-inline-size: 20rem; margin-block: 1rem }
  :host([hidden]) { display: none }
  :host(.floating) { position: fixed; z-index: 9999; inset-block-end: 0; inset-inline-end: 1rem; max-inline-size: 16rem;
    padding: 1rem; border: 1px solid; border-radius: 8px; background: Canvas; color: CanvasText }
  :host(.themed) { background-color: inherit; color: inherit }
  select, button { inline-size: 100%; min-block-size: 44px; padding: .5rem; border: 1px solid; border-radius: 4px;
    background: none; color: inherit; font: inherit }
  label:not([hidden]) { display: block }
  select { margin-block: .25rem .75rem }
  option { background: Canvas; color: CanvasText }
  button { font-weight: 600 }
  p { margin-block: .5rem 0 }
  :focus-visible { outline: 3px solid; outline-offset: 2px }
  [aria-disabled=false]:hover { text-decoration: underline }
  @supports (color: color(from currentColor xyz x y z)) {
    [aria-disabled=false] { background: currentColor }
    [aria-disabled=false] span { --w: calc((.179 - y) * 1e9); color: color(from currentColor xyz var(--w) var(--w) var(--w)) }
  }`;

const [host, label, caption, select, button, action, message] =
  ['deskbridge-chat', 'label', 'span', 'select', 'button', 'span', 'p'].map((each) => document.createElement(each));
const root = host.attachShadow({ mode: 'open' });

function render() {
  const { phase } = state;
  const [title, press] = BUTTONS[phase] ?? [];
  const focused = root.activeElement;
  host.hidden = phase === 'hidden';
  host.ariaBusy = phase === 'checking' || phase === 'opening';
  label.hidden = !/ready|opening|wait|failed/.test(phase) || select.length < 2;
  caption.textContent = text('issue_label');
  button.hidden = !title;
  button.ariaDisabled = !press;
  action.textContent = text(title);
  message.textContent = text(phase === 'ready' ? 'ready_hint' : phase).replace('{minutes}', state.minutes);
  if (focused && (focused !== select || label.hidden)) (button.hidden ? message : button).focus();
}

function text(key) {
  return state.offer.texts[key] ?? builtIn[key] ?? '';
}

function enter(phase) {
  state.phase = phase;
  render();
  if (phase === 'nobody') setTimeout(lookAgain, 60000);
  if (phase === 'wait') setTimeout(enter, state.minutes * 60000, 'ready');
}

// After the administrator's script, else before the request's details, else in the corner.
function settle() {
  const place = ownPlace || findDetails();
  const isThere = place ? host === (ownPlace ? place.nextSibling : place.previousSibling) : host.parentNode === document.body;
  if (isThere) return;
  const focused = root.activeElement;
  if (ownPlace) place.after(host);
  else if (place) place.before(host);
  else document.body.append(host);
  const isOpaque = getComputedStyle(document.body).backgroundColor.startsWith('rgb(');
  host.className = place ? '' : isOpaque ? 'floating themed' : 'floating';
  focused?.focus();
}

// Themes share elements, not class names. What stands in a comment does not count.
function findDetails() {
  const isShown = (each) => each.getClientRects().length;
  const all = [...document.querySelectorAll('main dl, main aside > *, main ~ aside > *')];
  const found = all.filter((each) => each !== host && !each.closest('li, article, nav'));
  let place = found.find(isShown) ?? found[0];
  while (place && !isShown(place)) place = place.parentElement;
  return place?.matches('main, body') ? null : place;
}

async function load() {
  const isQuiet = state.phase === 'nobody';
  if (!isQuiet) enter('checking');
  try {
    const [offer, answer] = await Promise.all([getOffer().catch(() => pause(2000).then(getOffer)), ask(request).catch(() => ({}))]);
    select.replaceChildren(...offer.options);
    host.lang = offer.locale;
    for (const each of [label, button, message]) each.dir = offer.dir;
    state.offer = offer;
    enter(firstPhase(offer, answer));
  } catch {
    enter(isQuiet ? 'nobody' : 'unavailable');
  }
}

async function getOffer() {
  const { data } = await ask(server(`offer?${new URLSearchParams({ connection, locale })}`), { credentials: 'omit' });
  return { ...data, options: data.issues.map((issue) => new Option(issue.name, issue.code)) };
}

function pause(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}

function firstPhase({ options, available }, { status, data }) {
  if (!options.length) return 'hidden';
  if (status === 401) return 'sign_in';
  if (status === 404) return 'not_yours';
  if (data?.request?.status === 'closed') return 'closed';
  return available === false ? 'nobody' : 'ready';
}

function lookAgain() {
  if (document.hidden) document.addEventListener('visibilitychange', lookAgain, { once: true });
  else load();
}

async function start() {
  const chat = window.open('', name); // In the click itself, or browsers block it.
  try {
    if (chat) chat.document.title = chat.document.body.textContent = text('opening');
  } catch {
    return follow(chat); // Another site's page: the chat was opened before this page was loaded.
  }
  enter('opening');
  const { url, phase = 'ready' } = await findChat().catch(() => ({ phase: 'failed' }));
  if (url && chat && !chat.closed) {
    chat.opener = null;
    chat.location.replace(url);
    return follow(chat);
  }
  if (url && !chat) location.assign(url);
  chat?.close();
  enter(phase);
}

async function follow(chat) {
  state.chat = chat;
  enter('open');
  chat.focus();
  while (!chat.closed) await pause(1000);
  enter('ready');
}

// A chat's `url` by the first proof that is believed, or the `phase` that says why there is none.
async function findChat() {
  let phase = 'no_proof';
  for (const kind of state.offer.proofs) {
    const value = await getProof(kind).catch(({ cause }) => void (phase = cause ?? 'failed'));
    const answer = value && (await requestChat(kind, value));
    if (answer) return answer;
  }
  return { phase };
}

async function getProof(kind) {
  const isToken = kind === 'help_center_token';
  const { status, data } = await ask(isToken ? '/api/v2/help_center/integration/token' : request);
  if (status === 401) throw new Error(status, { cause: 'sign_in' });
  if (status === 429 || status > 499) throw new Error(status);
  if (isToken) return data.token;
  const id = state.offer[kind === 'chat_link' ? 'link_field' : kind];
  return data.request?.custom_fields?.find((field) => String(field.id) === id)?.value;
}

async function requestChat(kind, value) {
  if (kind === 'chat_link') return value.startsWith(server('../c/')) && { url: value };
  const { status, headers, data } = await ask(server('chats'), {
    method: 'POST',
    credentials: 'omit',
    headers: { 'Content-Type': 'application/json' },
    // A chat whose window was closed is not wanted any more.
    body: JSON.stringify({ connection, ticket, issue: select.value, proof: { kind, value }, again: state.chat?.closed && 'true' }),
  });
  if (status === 201) return { url: checked(data.url) };
  const problem = String(data.type).split(/[:/]/).pop();
  if (problem === 'proof-refused') return null; // Another proof may do.
  state.minutes = Math.ceil((data.retry_after ?? headers.get('Retry-After')) / 60) || 1;
  return { phase: REFUSALS[status] ?? REFUSALS[problem] ?? 'failed' };
}

function checked(url) {
  const { protocol, hostname, href } = new URL(url);
  if (/^(https:.+|http:(localhost|127\.[\d.]+|\[::1\]))$/.test(protocol + hostname)) return href;
  throw new Error(protocol);
}

async function ask(url, options) {
  const answer = await fetch(url, { ...options, signal: AbortSignal.timeout(20000) });
  answer.data = (await answer.json().catch(() => null)) ?? {};
  return answer;
}

function begin() {
  const style = new CSSStyleSheet();
  style.replaceSync(STYLE);
  root.adoptedStyleSheets = [style];
  root.append(label, button, message);
  label.append(caption, select);
  button.append(action);
  button.onclick = () => BUTTONS[state.phase][1]?.();
  message.role = 'status';
  message.tabIndex = -1;
  settle();
  load();
  const observer = new MutationObserver(settle);
  observer.observe(document.body, { childList: true, subtree: true });
  setTimeout(() => observer.disconnect(), 10000);
  addEventListener('resize', settle);
}

if (document.body) begin();
else addEventListener('DOMContentLoaded', begin);

})();
