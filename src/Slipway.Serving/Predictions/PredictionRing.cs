using System.Runtime.InteropServices;

namespace Slipway.Serving.Predictions;

/// <summary>
/// A bounded queue of entries from many requests to one writer. A full ring refuses; nothing waits.
/// </summary>
/// <remarks>Each slot carries a turn number, after Vyukov's bounded queue (https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue).</remarks>
internal sealed class PredictionRing
{
    private readonly Slot[] _slots;
    private readonly int _mask;
    private Positions _positions;

    /// <param name="capacity">A power of two.</param>
    public PredictionRing(int capacity)
    {
        _slots = new Slot[capacity];
        _mask = capacity - 1;
        for (var i = 0; i < capacity; i++)
        {
            _slots[i].Turn = i;
        }
    }

    /// <summary>Entries waiting; exact only for the writer.</summary>
    public long Waiting => Volatile.Read(ref _positions.Tail) - Volatile.Read(ref _positions.Head);

    /// <summary>Everything claimed before this point has been taken once <see cref="Head"/> reaches it.</summary>
    public long Tail => Volatile.Read(ref _positions.Tail);

    public long Head => Volatile.Read(ref _positions.Head);

    /// <summary>Takes a slot to fill; call <see cref="Publish"/> with its position afterwards, whatever happens.</summary>
    public PredictionEntry? TryClaim(out long position)
    {
        position = Volatile.Read(ref _positions.Tail);
        while (true)
        {
            ref var slot = ref _slots[position & _mask];
            var lead = Volatile.Read(ref slot.Turn) - position;
            if (lead == 0)
            {
                if (Interlocked.CompareExchange(ref _positions.Tail, position + 1, position) == position)
                {
                    return slot.Entry ??= new PredictionEntry();
                }
            }
            else if (lead < 0)
            {
                return null;
            }

            position = Volatile.Read(ref _positions.Tail);
        }
    }

    public void Publish(long position) => Volatile.Write(ref _slots[position & _mask].Turn, position + 1);

    /// <summary>The oldest published entry, for the one writer; call <see cref="Release"/> when done with it.</summary>
    public PredictionEntry? TryTake()
    {
        ref var slot = ref _slots[_positions.Head & _mask];
        return Volatile.Read(ref slot.Turn) == _positions.Head + 1 ? slot.Entry : null;
    }

    public void Release()
    {
        Volatile.Write(ref _slots[_positions.Head & _mask].Turn, _positions.Head + _slots.Length);
        Volatile.Write(ref _positions.Head, _positions.Head + 1);
    }

    private struct Slot
    {
        public long Turn;
        public PredictionEntry? Entry;
    }

    // The writer's and the requests' positions on lines of their own.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Positions
    {
        [FieldOffset(64)]
        public long Tail;

        [FieldOffset(192)]
        public long Head;
    }
}
