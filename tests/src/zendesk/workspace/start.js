// The list of tickets, with links that say as which agent they are opened.

const agents = document.querySelector("#agent");
const rows = document.querySelector("#tickets");

document.documentElement.dataset.scheme = localStorage.getItem("scheme")
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

const overview = await (await fetch("/agent/overview")).json();
document.title = `Tickets – ${overview.subdomain}`;
agents.replaceChildren(...overview.agents.map((agent) => new Option(
  agent.light_agent ? `${agent.name} (light agent)` : agent.name,
  agent.id,
)));

function cell(...content) {
  const td = document.createElement("td");
  td.append(...content);
  return td;
}

function show() {
  const page = (ticket) => `/agent/tickets/${ticket}?agent=${agents.value}`;
  document.querySelector("#new").href = page("new");
  rows.replaceChildren(...overview.tickets.map((ticket) => {
    const link = document.createElement("a");
    link.href = page(ticket.id);
    link.textContent = ticket.subject;
    const status = document.createElement("span");
    status.className = `status ${ticket.status}`;
    status.textContent = ticket.status;
    const row = document.createElement("tr");
    row.append(
      cell(`#${ticket.id}`),
      cell(link),
      cell(ticket.requester?.name ?? "–"),
      cell(status),
      cell(ticket.assignee?.name ?? "–"),
    );
    return row;
  }));
}

agents.addEventListener("change", show);
show();
