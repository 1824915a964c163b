// The format of server-sent events (HTML standard, 9.2.6), read from pieces of text that end anywhere.

/** @typedef {{ event: string, data: string, id: string | null }} ServerEvent */

/**
 * A reader of one stream: give it each piece, and take the events that are whole by then.
 * @returns {(piece: string) => ServerEvent[]}
 */
export function reader() {
  let rest = '';
  let event = '';
  /** @type {string[]} */
  let data = [];
  /** @type {string | null} */
  let id = null;

  /** @param {string} line @param {ServerEvent[]} events */
  function take(line, events) {
    if (line === '') {
      if (data.length > 0) events.push({ event: event || 'message', data: data.join('\n'), id });
      event = '';
      data = [];
      id = null;
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    else if (field === 'data') data.push(value);
    else if (field === 'id' && !value.includes('\0')) id = value;
  }

  return (piece) => {
    /** @type {ServerEvent[]} */
    const events = [];
    const lines = (rest + piece).split(/\r\n|\n/);
    rest = lines.pop() ?? '';
    for (const line of lines) take(line, events);
    return events;
  };
}
