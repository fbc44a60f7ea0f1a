/** Where the program runs while `mersal prove` looks at it. Everything in it is removed again. */
export interface ProofPlace {
  /** A folder of its own, for databases that are files. */
  readonly folder: string
  /**
   * A database of its own, also in the variable `DATABASE_URL`: `postgres://…` or `mysql://…` on
   * the server of `MERSAL_PROVE_DATABASE_URL`; without that `sqlite:FOLDER/app.db`.
   */
  readonly databaseUrl: string
  /**
   * A broker of its own, also in the variables `AMQP_URL` and `RABBITMQ_URL`. Undefined without
   * `MERSAL_PROVE_AMQP_URL`.
   */
  readonly brokerUrl: string | undefined
  /** Asks that database in SQL. `file`: one in the folder, in its place. */
  readonly query: (
    sql: string,
    file?: string,
  ) => Promise<readonly Readonly<Record<string, unknown>>[]>
}

/** SQL whose first column holds the numbers of actions, or a function that finds them. */
export type ProofNumbers = string | ((place: ProofPlace) => Promise<readonly unknown[]>)

/** What `mersal prove` has to know of a program. */
export interface Proof<App = unknown> {
  /**
   * Makes the tables and starts every app that takes part: who sends, who handles, who relays. It
   * is called again after each kill, in a new process.
   */
  readonly open: (place: ProofPlace) => Promise<App> | App
  /**
   * One business action: it writes what has the number `n` and sends the message about it. Numbers
   * begin with 1.
   */
  readonly act: (app: App, n: number, place: ProofPlace) => unknown
  /** Numbers of the actions whose rows are there: each at most once. */
  readonly rows: ProofNumbers
  /**
   * Numbers of the actions whose message has been handled, one for each time that it took effect.
   * With `keyOf` in the order in which they took effect.
   */
  readonly effects: ProofNumbers
  /** The partition key of an action. Of one key the order is checked. Default: no order is. */
  readonly keyOf?: (n: number) => string
  /** How many actions a run makes. From 3 to 1000. Default 12. */
  readonly actions?: number
}

/** For the default export of `mersal.prove.ts`. Returns what it is given; it is for the types. */
export function defineProof<App>(proof: Proof<App>): Proof<App> {
  return proof
}
