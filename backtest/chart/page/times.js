"use strict";
// Times in a zone: words, and round times inside a window. A zone is a name, or "" for that of the reader.
const TIMES = (() => {
  const MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR, MONDAY = 4 * DAY;
  const STEPS = [1, 2, 5, 10, 15, 30].map(n => n * MINUTE).concat([1, 2, 3, 6, 12].map(n => n * HOUR), [1, 2, 7, 14, 28].map(n => n * DAY));
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const writers = new Map(), two = value => String(value).padStart(2, "0");

  // What a clock on the wall shows, as if it were UTC.
  function wall(ms, zone) {
    if (zone === "UTC") return ms;
    if (!writers.has(zone)) writers.set(zone, new Intl.DateTimeFormat("en-GB", { timeZone: zone || undefined, hourCycle: "h23",
      year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" }));
    const parts = Object.fromEntries(writers.get(zone).formatToParts(ms).map(part => [part.type, +part.value]));
    return Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second) + ((ms % 1000) + 1000) % 1000;
  }
  const instant = (shown, zone) => {
    const first = shown - (wall(shown, zone) - shown);
    return shown - (wall(first, zone) - first);  // once more, where summer time begins or ends between the two
  };
  const words = (ms, zone) => new Date(wall(ms, zone)).toISOString().slice(0, 16).replace("T", " ");

  // At most so many round times in a window, with their labels; the first and each new day or year say so.
  function ticks(start, end, zone, most) {
    const step = STEPS.find(each => (end - start) / each <= most) ?? Math.ceil((end - start) / most / (7 * DAY)) * 7 * DAY;
    const shift = step >= 7 * DAY ? MONDAY : 0, found = [];
    let before = null;
    for (let at = Math.ceil((wall(start, zone) - shift) / step) * step + shift; ; at += step) {
      const ms = instant(at, zone);
      if (ms > end) break;
      if (ms < start || wall(ms, zone) !== at) continue;
      const date = new Date(at), day = `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`, year = date.getUTCFullYear();
      const hour = step < DAY ? `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}` : "";
      const more = [hour ? before?.day !== day && day : false, before?.year !== year && year].filter(Boolean).join(" ");
      found.push({ ms, label: hour || day, more });
      before = { day, year };
    }
    return found;
  }
  return { words, ticks, wall };
})();
