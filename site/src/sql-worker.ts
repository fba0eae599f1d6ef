// The thread that the SQL engine runs in.  Before the engine starts, it loses the means to reach any
// other host, whatever a query asks for; and the engine comes packed, to be a quarter as large.
export {};

declare function importScripts(...urls: string[]): void;
const FILES_HERE = FILES;
const here = self.location.origin;
const engine = new URL(FILES_HERE.wasm, self.location.href).href;

function own(address: string | URL): URL {
  const url = new URL(address, self.location.href);
  if (url.origin !== here) throw new TypeError(`refused: ${url.origin} is another host`);
  return url;
}

const fetchHere = self.fetch.bind(self);
self.fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
  const url = own(input instanceof Request ? input.url : input);
  const response = await fetchHere(input, init);
  if (url.href !== engine || !response.body) return response;
  const unpacked = response.body.pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked, { headers: { "Content-Type": "application/wasm" } });
};

const openHere = XMLHttpRequest.prototype.open as (...values: unknown[]) => void;
XMLHttpRequest.prototype.open = function (this: XMLHttpRequest, method: string, url: string | URL, ...rest: unknown[]) {
  openHere.call(this, method, own(url), ...(rest.length ? rest : [true]));
} as typeof XMLHttpRequest.prototype.open;

const refuse = class {
  constructor() {
    throw new TypeError("refused: a query has no connection");
  }
};
Object.assign(self, { WebSocket: refuse, EventSource: refuse, WebTransport: refuse, RTCPeerConnection: refuse });

importScripts(new URL(FILES_HERE.engine, self.location.href).href);
