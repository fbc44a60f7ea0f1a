import type { Wire } from './client.ts'
import type { Riders } from './riders.ts'

/**
 * The connection for a query in a flight: its first message follows `before`, and `after` follows
 * its Execute. A class of its own, since an object that inherits from the connection would make the
 * functions of `pg` slow.
 */
export class Lead implements Wire {
  begun = false
  #executed = false
  readonly stream = { cork: (): void => {}, uncork: (): void => {}, write: (): void => {} }
  readonly #wire: Wire
  readonly #before: Riders | undefined
  readonly #after: Riders | undefined

  constructor(wire: Wire, before: Riders | undefined, after: Riders | undefined) {
    this.#wire = wire
    this.#before = before
    this.#after = after
  }

  get parsedStatements(): object {
    return this.#wire.parsedStatements
  }

  get submittedNamedStatements(): object {
    return this.#wire.submittedNamedStatements
  }

  /** Without a query. */
  only(): void {
    this.#begin()
    this.#executed = true
    this.sync()
  }

  parse(statement: object): void {
    this.#begin()
    this.#wire.parse(statement)
  }

  bind(portal: object): void {
    this.#begin()
    this.#wire.bind(portal)
  }

  describe(what: object): void {
    this.#wire.describe(what)
  }

  execute(portal: object): void {
    this.#executed = true
    this.#wire.execute(portal)
  }

  close(what: object): void {
    this.#wire.close(what)
  }

  query(text: string): void {
    this.#begin()
    this.#wire.query(text)
  }

  flush(): void {
    this.#wire.flush()
  }

  sync(): void {
    // Without an Execute, its parameters could not be written.
    if (this.#executed) this.#after?.write(this.#wire)
    this.#wire.sync()
  }

  #begin(): void {
    if (this.begun) return
    this.begun = true
    this.#before?.write(this.#wire)
  }
}
