// On the pages of the configured sites: reads off the page what the background asks for (src/site/mod.rs), and judges none of it.

(() => {
  'use strict';

  const LONGEST_TEXT = 500;

  const textOf = (node) => (node.textContent ?? '').trim().slice(0, LONGEST_TEXT);

  /** What a selector matches, less what we put in ourselves. */
  function all(selector) {
    try {
      return [...document.querySelectorAll(selector)].filter((node) => !node.closest('[data-deskbridge]'));
    } catch {
      return []; // An administrator's own selector that is none.
    }
  }

  function found(node, query) {
    const attributes = {};
    for (const name of query.attributes) {
      if (node.hasAttribute(name)) attributes[name] = node.getAttribute(name).slice(0, LONGEST_TEXT);
    }
    const parts = {};
    for (const [name, selector] of Object.entries(query.parts)) {
      const part = node.querySelector(selector);
      if (part) parts[name] = textOf(part);
    }
    return { text: textOf(node), attributes, parts };
  }

  const collect = (queries) =>
    Object.fromEntries(queries.map((query) => [query.name, all(query.selector).slice(0, query.limit).map((node) => found(node, query))]));

  globalThis.deskbridge = { ...globalThis.deskbridge, all, collect };
})();
