import { systemClock } from '../../../lib/async/clock.ts'

/**
 * Most bytes on the way to the broker: written, and not known to have reached it. Enough to keep a
 * fast or a long link busy, and little enough to bound what waits in buffers that nobody can look
 * into.
 */
export const MOST_ON_THE_WAY: number = 4 * 1024 * 1024
/** Bytes after which a question goes along, unless a confirm has answered it meanwhile. */
const ASK_AFTER_BYTES = MOST_ON_THE_WAY / 8
/** What a message takes beside its content, roughly. */
const BESIDE_CONTENT = 512

/**
 * What is known about the way of the written messages of one channel to the broker, which reads
 * them in their order.
 */
export interface Passage {
  /** Nothing more may be written for now. */
  readonly full: boolean
  /** When something was last seen to move (monotonic). */
  readonly movedAt: number
  /**
   * The message with this tag has been written. Returns how far the channel has been written by
   * then.
   */
  wrote(tag: number, contentBytes: number): number
  /** The broker has read this message, and so all before it. */
  reached(tag: number, end: number): void
  /**
   * Since when this message is known to have been read by the broker; undefined if that is not
   * known.
   */
  reachedAt(tag: number): number | undefined
  /** Sends a question behind all that is written, unless one is on the way. */
  ask(): void
  /** Nobody asks any more about what was read before this moment. */
  forget(before: number): void
}

export interface PassagePorts {
  /**
   * Resolves when the broker has read all that was written before. Without it, what is written
   * counts as read.
   */
  readonly question: (() => Promise<unknown>) | undefined
  /** Moments that are closer to each other than this are one. */
  readonly grainMs: number
  /** What fills the buffers of the process; when it changes, something moves. */
  readonly waiting: () => number
  /** More may be written. */
  readonly onRoom: () => void
}

/**
 * Messages up to `tag` were read by the broker at `at`, the first of them no earlier than `from`.
 */
interface Mark {
  tag: number
  at: number
  readonly from: number
}

export function createPassage(ports: PassagePorts): Passage {
  return new WatchedPassage(ports)
}

class WatchedPassage implements Passage {
  readonly #ports: PassagePorts
  readonly #last = { tag: 0, written: 0, asked: 0, reached: 0, reachedTag: 0 }
  #marks: Mark[] = []
  #asking = false
  #blind: boolean
  #movedAt = systemClock.monotonic()
  #buffered = 0

  constructor(ports: PassagePorts) {
    this.#ports = ports
    this.#blind = ports.question === undefined
  }

  get full(): boolean {
    return !this.#blind && this.#last.written - this.#last.reached >= MOST_ON_THE_WAY
  }

  get movedAt(): number {
    const now = this.#ports.waiting()
    if (now !== this.#buffered) this.#movedAt = systemClock.monotonic()
    this.#buffered = now
    return this.#movedAt
  }

  wrote(tag: number, contentBytes: number): number {
    const last = this.#last
    last.tag = tag
    last.written += contentBytes + BESIDE_CONTENT
    if (this.#blind) this.reached(tag, last.written)
    else if (last.written - Math.max(last.asked, last.reached) >= ASK_AFTER_BYTES) this.ask()
    return last.written
  }

  reached(tag: number, end: number): void {
    const last = this.#last
    if (tag <= last.reachedTag) return
    this.#movedAt = systemClock.monotonic()
    last.reachedTag = tag
    last.reached = Math.max(last.reached, end)
    this.#note(tag, this.#movedAt)
  }

  reachedAt(tag: number): number | undefined {
    if (tag > this.#last.reachedTag) return undefined
    return this.#marks.find((mark) => mark.tag >= tag)?.at
  }

  ask(): void {
    void this.#ask()
  }

  forget(before: number): void {
    this.#marks = this.#marks.filter(
      (mark, index) => mark.at >= before || index === this.#marks.length - 1,
    )
  }

  #note(tag: number, now: number): void {
    const mark = this.#marks.at(-1)
    if (mark !== undefined && now - mark.from < this.#ports.grainMs) {
      mark.tag = tag
      mark.at = now
    } else this.#marks.push({ tag, at: now, from: now })
  }

  async #ask(): Promise<void> {
    const { question, onRoom } = this.#ports
    const { tag, written, reachedTag } = this.#last
    if (this.#asking || this.#blind || tag <= reachedTag || question === undefined) return
    this.#asking = true
    this.#last.asked = written
    try {
      await question()
    } catch {
      // The channel of the questions is gone: from now on what is written counts as read, as
      // without one.
      this.#blind = true
    }
    this.#asking = false
    this.reached(tag, written)
    onRoom()
  }
}
