import { command, event } from '../src/index.ts'

/** One line of the input. `line` is its number there, and so the identity of the command. */
export interface Registration {
  readonly line: number
  readonly name: string
  readonly programme: string
}

export interface Registered {
  readonly studentId: string
  readonly line: number
  readonly name: string
}

export const RegisterStudent = command<Registration>('students.register')
export const StudentRegistered = event<Registered>('students.registered')
