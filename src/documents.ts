export { type DocumentType, document } from './app/documents/definition.ts'
export type { ChangeDocument, DocumentSender, Updated } from './app/documents/change.ts'
export { type Documents, documents, type UpdateOptions } from './app/documents/documents.ts'
export type { DocumentsOptions } from './app/documents/options.ts'
export type {
  DocumentChange,
  DocumentHandling,
  DocumentHold,
  DocumentKey,
  DocumentSaved,
  DocumentSettlement,
  DocumentStorage,
  HeldDocument,
  LoadedDocument,
} from './core/records/documents.ts'
