package queue

// Batches divides messages into the batches that they are sent in, in order: at most MaxBatch messages and MaxMessageBytes to each,
// as SQS bounds a batch as it does a message. A batch is indexes into messages. Those that SQS would not take are in none, and have
// their errors in errs, which has one for each message.
func Batches(messages []Outgoing) (batches [][]int, errs []error) {
	errs = make([]error, len(messages))
	bytes := 0
	for i := range messages {
		if errs[i] = messages[i].Validate(); errs[i] != nil {
			continue
		}
		size := messages[i].Size()
		last := len(batches) - 1
		if last < 0 || len(batches[last]) == MaxBatch || bytes+size > MaxMessageBytes {
			batches, bytes = append(batches, nil), 0
			last++
		}
		batches[last], bytes = append(batches[last], i), bytes+size
	}
	return batches, errs
}
