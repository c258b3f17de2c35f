// Keeps the page up to date: each event has the parts that changed. Without this script the page is complete, and reloads itself.
"use strict";

const live = document.getElementById("live");
let stamp = document.body.dataset.stamp;

const title = document.title;

// The heading's symbol, so that a background tab shows that something is wrong.
function mark() {
  document.title = `${document.querySelector("h1 span").textContent} ${title}`;
}

function show(text) {
  if (live.textContent !== text) live.textContent = text;
}

function replace(id, html) {
  const element = document.getElementById(id);
  if (!element) return;
  const focused = element.contains(document.activeElement) && document.activeElement.getAttribute("href");
  element.innerHTML = html; // escaped by the server
  if (focused) [...element.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
}

function connect() {
  const url = new URL(document.body.dataset.events, location.href);
  url.searchParams.set("stamp", stamp);
  url.searchParams.set("names", document.body.dataset.names); // with other parts, the page has to be loaded again
  const events = new EventSource(url);
  events.onopen = () => show("live");
  events.onmessage = ({ data }) => {
    const news = JSON.parse(data);
    stamp = news.stamp;
    for (const [id, html] of Object.entries(news.parts)) replace(id, html);
    mark();
    show(`live, as of ${news.since.slice(0, 19)}Z`);
  };
  events.addEventListener("reload", () => location.reload());
  events.onerror = () => {
    events.close(); // the next connection continues from the latest stamp
    show("not connected, retrying");
    setTimeout(connect, 2000);
  };
}

mark();
connect();
