import type { JoiningClient, NewQuery, Submittable, Wire } from './flight/client.ts'
import { Lead } from './flight/lead.ts'
import type { Riders } from './flight/riders.ts'

/** What a flight asks when it is written, and tells when it is answered. */
export interface Journey {
  /** Asked in the moment of writing. An error: nothing is written, and the query fails. */
  board(flight: Submittable): Boarding | Error
  /** `before` has run. */
  begun(): void
  /** Everything has run, and the server is ready for the next query. */
  ended(): void
  /**
   * - `unsent`: `pg` refuses to send the query, and nothing was sent.
   * - `unbound`: its parameters could not be written. What goes before it runs.
   * - `before`: the server has not answered what goes before.
   * - `after`: it has.
   */
  failed(error: Error, when: 'unsent' | 'unbound' | 'before' | 'after'): void
}

export interface Boarding {
  /** Goes before the query. If the server refuses it, it runs nothing of what follows. */
  readonly before: Riders | undefined
  /** Goes behind the query. Does not run if the query failed. */
  readonly after: Riders | undefined
}

type NewFlight = new (
  journey: Journey,
  bare: boolean,
  config: unknown,
  values?: unknown,
  callback?: unknown,
) => Submittable

const classes = new WeakMap<NewQuery, NewFlight>()

/**
 * A query of this client that lets statements of ours travel with it. In PostgreSQL's extended
 * protocol a message that fails makes the server skip everything up to the next Sync, and there is
 * one Sync, at the end: so a statement never runs outside of a transaction whose BEGIN has failed,
 * and a COMMIT never runs after a statement that has. `pg` sees one query.
 */
export function newFlight(
  { constructor: { Query } }: JoiningClient,
  journey: Journey,
  ...given: readonly [config: unknown, values: unknown, callback: unknown]
): Submittable {
  return new (classOf(Query))(journey, false, ...given)
}

/** A flight without a query: only what boards. `text`: what others are shown that look at queries. */
export function bareFlight(
  { constructor: { Query } }: JoiningClient,
  journey: Journey,
  text: string,
): Submittable {
  return new (classOf(Query))(journey, true, text)
}

function classOf(Query: NewQuery): NewFlight {
  let Flight = classes.get(Query)
  if (Flight === undefined) classes.set(Query, (Flight = flightClass(Query)))
  return Flight
}

/** One class for all flights of a make of `pg`: functions put on each query would slow it down. */
function flightClass(Query: NewQuery): NewFlight {
  return class Flight extends Query {
    readonly #passage: Passage
    #name: string | undefined

    constructor(journey: Journey, bare: boolean, ...given: [unknown, unknown?, unknown?]) {
      super(...given)
      this.#passage = new Passage(journey, bare)
    }

    override submit(wire: Wire): Error | null | undefined {
      const problem = this.#passage.board(this)
      if (problem !== undefined) return problem
      const refusal = this.#passage.write(wire, (lead) => super.submit(lead))
      // pg notes a name as prepared with the first answer to a Parse, which may be that of ours.
      if (!this.#passage.begins) return refusal
      this.#name = this.name
      this.name = undefined
      return refusal
    }

    override handleCommandComplete(message: { readonly text: string }, wire: Wire): void {
      const begins = this.#passage.begins
      if (!this.#passage.completed(message.text)) super.handleCommandComplete(message, wire)
      else if (begins) this.name = this.#name
    }

    override handleDataRow(message: { readonly fields: readonly (string | null)[] }): void {
      if (!this.#passage.row(message.fields)) super.handleDataRow(message)
    }

    override handleError(error: Error, wire: Wire): void {
      if (this.#passage.rings) return onceReady(error, wire, () => this.handleReadyForQuery(wire))
      this.#passage.failed(error)
      super.handleError(error, wire)
    }

    override handleReadyForQuery(wire: Wire): void {
      this.#passage.ready()
      super.handleReadyForQuery(wire)
    }
  }
}

/**
 * The server has refused the bell, and gets ready all the same. Then `ready` is called; on a
 * connection that was lost, at once.
 */
function onceReady(error: Error, wire: Wire, ready: () => void): void {
  if (!('severity' in error)) return ready()
  const connection = wire as JoiningClient['connection']
  const done = (): void => {
    connection.off('readyForQuery', done)
    connection.off('end', done)
    ready()
  }
  connection.on('readyForQuery', done)
  connection.on('end', done)
}

/** How far a flight has come. Its methods that tell of an answer say whether it was one of ours. */
class Passage {
  readonly #journey: Journey
  readonly #bare: boolean
  #before: Riders | undefined
  #after: Riders | undefined
  #stage: 'alone' | 'writing' | 'before' | 'query' | 'after' = 'alone'
  #over = false

  constructor(journey: Journey, bare: boolean) {
    this.#journey = journey
    this.#bare = bare
  }

  /** What goes before the query has not been answered. */
  get begins(): boolean {
    return this.#stage === 'before'
  }

  /** All has been answered but for the bell: an error is that of the bell. */
  get rings(): boolean {
    return this.#stage === 'after' && this.#after?.rings === true && !this.#over
  }

  board(flight: Submittable): Error | undefined {
    const boarding = this.#journey.board(flight)
    if (boarding instanceof Error) return boarding
    this.#before = boarding.before
    this.#after = boarding.after
    return undefined
  }

  write(wire: Wire, submit: (wire: Wire) => Error | null | undefined): Error | null | undefined {
    if (this.#before === undefined && this.#after === undefined) return this.#alone(wire, submit)
    this.#stage = 'writing'
    const lead = new Lead(wire, this.#before, this.#after)
    wire.stream.cork()
    let problem: Error | null | undefined
    try {
      if (this.#bare) lead.only()
      else problem = submit(lead)
    } finally {
      wire.stream.uncork()
    }
    if (lead.begun) this.#stage = this.#before === undefined ? this.#own() : 'before'
    else {
      this.#stage = 'alone'
      if (problem instanceof Error) this.#journey.failed(problem, 'unsent')
    }
    return problem
  }

  completed(tag: string): boolean {
    if (this.#stage === 'after') {
      this.#after?.completed(tag)
      return true
    }
    if (this.#stage === 'before') {
      this.#before?.completed(tag)
      this.#stage = this.#own()
      this.#journey.begun()
      return true
    }
    if (this.#stage === 'query' && this.#after !== undefined) this.#stage = 'after'
    return false
  }

  row(fields: readonly (string | null)[]): boolean {
    if (this.#stage !== 'after') return false
    this.#after?.row(fields)
    return true
  }

  failed(error: Error): void {
    const stage = this.#stage
    if (stage === 'writing') this.#journey.failed(error, 'unbound')
    else if (stage !== 'alone') this.#journey.failed(error, stage === 'before' ? 'before' : 'after')
  }

  ready(): void {
    this.#over = true
    if (this.#stage !== 'alone') this.#journey.ended()
  }

  #own(): 'query' | 'after' {
    return this.#bare ? 'after' : 'query'
  }

  #alone(wire: Wire, submit: (wire: Wire) => Error | null | undefined): Error | null | undefined {
    if (!this.#bare) return submit(wire)
    // Its BEGIN has gone with another one: it is answered, and does nothing.
    wire.query('')
    return null
  }
}
